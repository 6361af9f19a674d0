//! What was linked into the program.
//!
//! `inventory` by default, `linkme` by feature; the choice is made here, behind `collect!` of
//! [`crate::__private`], and never in the user's code.

use std::sync::OnceLock;

use super::{EventDef, ExchangeDef, FailureDef, GroupDef, HandlerDef};
use crate::outcome::VerdictOf;

/// One definition, as it is submitted.
#[derive(Debug)]
pub enum Submission {
    /// Of an event.
    Event(&'static EventDef),
    /// Of an exchange.
    Exchange(&'static ExchangeDef),
    /// Of a group.
    Group(&'static GroupDef),
    /// Of a handler.
    Handler(&'static HandlerDef),
    /// Of an error type.
    Failure(&'static FailureDef),
}

#[cfg(not(feature = "linkme"))]
inventory::collect!(Submission);

#[cfg(not(feature = "linkme"))]
pub(super) fn submissions() -> impl Iterator<Item = &'static Submission> {
    inventory::iter::<Submission>()
}

/// Where linkme gathers definitions.
#[cfg(feature = "linkme")]
#[linkme::distributed_slice]
pub static SUBMISSIONS: [Submission];

#[cfg(feature = "linkme")]
pub(super) fn submissions() -> impl Iterator<Item = &'static Submission> {
    SUBMISSIONS.iter()
}

/// Every error type that derives `Failure`, in this program.
#[must_use]
pub fn failures() -> &'static [VerdictOf] {
    static FAILURES: OnceLock<Vec<VerdictOf>> = OnceLock::new();
    FAILURES.get_or_init(|| {
        submissions()
            .filter_map(|submission| match submission {
                Submission::Failure(def) => Some(def.verdict),
                Submission::Event(_)
                | Submission::Exchange(_)
                | Submission::Group(_)
                | Submission::Handler(_) => None,
            })
            .collect()
    })
}
