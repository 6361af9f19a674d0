//! What the program declares: events, groups and handlers.
//!
//! The macros write a [`EventDef`], [`GroupDef`] or [`HandlerDef`] beside each annotated item and
//! submit it; [`Registry::collected`] gathers what was linked, [`Registry::new`] is filled by hand.
//! The order of the linker is nobody's: everything is sorted before anyone reads it.

mod collect;
mod defs;

pub use self::{
    collect::{Submission, failures},
    defs::{DeclaredEvent, EventDef, FailureDef, Group, GroupDef, GroupRef, Handler, HandlerDef, Location},
};

#[cfg(feature = "linkme")]
pub use self::collect::SUBMISSIONS;
