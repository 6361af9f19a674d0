//! From what the program declares to what the broker has to hold.
//!
//! `group` puts a group's handlers and settings together, [`build`] makes a topology of groups and
//! events (pure), [`apply`] brings a broker to it, [`Provision`] keeps it there over reconnects. [`explain`] tells
//! who gets what by it, `graph` what about it is probably not meant.

mod apply;
mod bound;
mod build;
mod dead_letters;
mod differences;
mod exchanges;
pub mod explain;
pub(crate) mod graph;
mod group;
pub mod migrate;
mod patience;
pub mod plan;
pub(crate) mod policies;
pub(crate) mod position;
mod program;
mod provision;
mod strict;
mod takers;

#[cfg(test)]
pub(crate) mod declarations;
#[cfg(test)]
pub(crate) mod fixtures;

#[cfg(feature = "cli")]
pub(crate) use self::apply::compare;
pub(crate) use self::{
    apply::ApplyError,
    bound::{Asked, Bound, bound},
    build::build,
    exchanges::Exchanges,
    group::{
        GroupSettings, GroupSpec, HandlerSpec, LateBound, StreamNames, StreamSettings, UnknownWait,
        delay_name,
    },
    patience::Patience,
    program::Program,
    provision::{Provision, ProvisionError},
    takers::Claims,
};
pub use self::{
    build::Conflict,
    graph::{GraphFinding, Severity},
};
