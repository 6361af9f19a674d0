//! Plans: what stands between a broker and what a program declares, before anything is changed.
//!
//! In come the topology that is declared, an [`Observed`](crate::model::Observed) broker, and what the
//! program once declared; out goes a [`Plan`], an ordered list of steps with a reason and a risk each. It
//! prints for people and serialises for programs. [`Bus::plan`](crate::Bus::plan) makes one,
//! [`Bus::apply`](crate::Bus::apply) performs it.
//!
//! `decide` is pure, and `prune` and `caution` are parts of it; `step` has the words, `text` and `json` write
//! them down; `perform` does what a plan says. `look` chooses how the broker is looked at, `record` keeps what
//! a program once declared, `drift` tells a program that runs what is not as it was declared.

mod caution;
mod decide;
mod drift;
mod json;
mod look;
mod perform;
mod prune;
mod record;
mod step;
mod text;

#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;

#[cfg(all(feature = "cli", feature = "management"))]
pub(crate) use self::perform::mismatches;
pub(crate) use self::{
    decide::{decide, is_it},
    drift::{Deviation, DriftKind, deviations},
    look::{Eyes, LookError, shared_names},
    perform::{PerformError, perform, renamed},
    record::{Record, both},
};
pub use self::{
    perform::Applied,
    record::RecordError,
    step::{Action, Left, Outcome, Plan, PlanOptions, Risk, Step, Warning},
};

/// Why a plan cannot be made, or performed, as it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Nobody knows what the program once declared.
    #[error(
        "nothing can be pruned without knowing what this program once declared: set `program` (ES_BUS_PROGRAM) to a name \
         that no other program has, and apply a plan; what it declares from then on is remembered"
    )]
    NoProgram,
    /// This process knows a part of the program only.
    #[error(
        "nothing can be pruned by a process that knows a part of the program: {reason}; what the other groups need would \
         be taken for left over"
    )]
    PartOfProgram {
        /// What says so.
        reason: &'static str,
    },
    /// What the program once declared could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
}
