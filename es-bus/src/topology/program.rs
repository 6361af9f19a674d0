//! A program as a whole: what it declares, and what that comes to on a broker.

use super::{Exchanges, GroupSpec};
use crate::{
    model::Topology,
    registry::{HandlerDef, Place, Registry},
};

/// What is known of a program.
#[derive(Clone, Copy)]
pub(crate) struct Program<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) exchanges: &'a Exchanges,
    /// Every group that the program declares.
    pub(crate) groups: &'a [&'a GroupSpec],
    /// What they come to.
    pub(crate) topology: &'a Topology,
    /// Whether this process consumes a group.
    pub(crate) is_consumed: &'a dyn Fn(&str) -> bool,
}

impl<'a> Program<'a> {
    /// What declares a handler.
    pub(super) fn handler_def(&self, group: &str, handler: &str) -> Option<&'static HandlerDef> {
        self.registry.handlers_of(group).find(|def| def.name == handler)
    }

    /// Where a handler stands, for one that is declared.
    pub(super) fn handler_place(&self, group: &str, handler: &str) -> Option<Place> {
        let def = self.handler_def(group, handler)?;
        Some(Place::new(format!("handler `{}::{}`", def.location.module, def.name), def.location))
    }

    /// Where a group stands: its `#[group]`, or its first handler.
    pub(super) fn group_place(&self, group: &str) -> Option<Place> {
        let location = self.registry.group_def(group).map(|def| def.location);
        let location = location.or_else(|| Some(self.registry.handlers_of(group).next()?.location))?;
        Some(Place::new(format!("group {group:?}"), location))
    }

    /// The group that consumes a queue, or that the stream is of.
    pub(super) fn group_of(&self, queue: &str) -> Option<&'a GroupSpec> {
        self.groups
            .iter()
            .copied()
            .find(|group| group.queue.as_str() == queue || group.bound_queue().as_str() == queue)
    }
}
