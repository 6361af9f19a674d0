//! What the program declares: events, groups and handlers.
//!
//! The macros write a [`EventDef`], [`GroupDef`] or [`HandlerDef`] beside each annotated item and
//! submit it; [`Registry::collected`] gathers what was linked, [`Registry::new`] is filled by hand.
//! The order of the linker is nobody's: everything is sorted before anyone reads it. [`check()`] says
//! what is wrong with the whole, before a broker is touched; `topology` makes queues of the rest.

mod check;
mod collect;
mod defs;
mod finding;
mod program;

pub use self::{
    check::{Facts, check},
    collect::{Submission, failures},
    defs::{
        DeclaredEvent, DecodeFn, Emitted, EventDef, Exchange, FailureDef, Group, GroupDef, GroupRef, Handler,
        HandlerDef,
    },
    finding::{Finding, FindingKind, Place, Report},
    program::Registry,
};

pub use crate::{
    exchange::{Bind, ExchangeDef, ExchangeRef, HeadersMatch, Match},
    location::Location,
};

#[cfg(feature = "linkme")]
pub use self::collect::SUBMISSIONS;
