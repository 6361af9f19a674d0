//! Which handlers a delivery goes to. Pure.

use crate::{
    model::policy::OnUnknown,
    registry::HandlerDef,
    topic,
    topology::GroupSpec,
    wire::{HandlerAttempt, Origin},
};

/// What is to be done with a delivery.
#[derive(Debug, PartialEq)]
pub(super) enum Plan {
    /// Some handlers are concerned.
    Handlers(Concerned),
    /// Nobody in this group takes it, and that is meant.
    Skip,
    /// Nobody in this group knows it.
    Unknown(OnUnknown),
}

/// The handlers that a delivery concerns.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Concerned {
    /// Those that run now, by their place in the group, with the attempts that failed before.
    pub(super) run: Vec<(usize, u32)>,
    /// Those whose time has not come.
    pub(super) later: Vec<HandlerAttempt>,
    /// Those that this build does not have.
    pub(super) gone: Vec<HandlerAttempt>,
}

/// Finds the handlers that a delivery goes to.
///
/// A copy that a retry made names the handlers that it is for; every other delivery goes to each
/// handler whose pattern matches its first routing key and that takes its type.
pub(super) fn plan(
    group: &GroupSpec,
    origin: &Origin,
    aggregate_type: Option<&str>,
    pending: Vec<HandlerAttempt>,
    now_ms: u64,
) -> Plan {
    if pending.is_empty() {
        let run: Vec<_> = (0..group.handlers.len())
            .filter(|&index| fits(group.handlers[index].def, origin, aggregate_type))
            .map(|index| (index, 0))
            .collect();
        return if !run.is_empty() {
            Plan::Handlers(Concerned { run, ..Concerned::default() })
        } else if group.is_retired(&origin.routing_key) {
            Plan::Skip
        } else {
            match group.on_unknown() {
                OnUnknown::Skip => Plan::Skip,
                other => Plan::Unknown(other),
            }
        };
    }
    let mut concerned = Concerned::default();
    for entry in pending {
        let handler = find(group, &entry.handler)
            .filter(|&index| fits(group.handlers[index].def, origin, aggregate_type));
        match handler {
            None => concerned.gone.push(entry),
            Some(_) if entry.due_ms.is_some_and(|due| due > now_ms) => concerned.later.push(entry),
            Some(index) => concerned.run.push((index, entry.attempt)),
        }
    }
    Plan::Handlers(concerned)
}

/// The handler of a name, or the one that had it before.
fn find(group: &GroupSpec, name: &str) -> Option<usize> {
    let by_name = group.handlers.iter().position(|handler| handler.def.name == name);
    by_name.or_else(|| group.handlers.iter().position(|handler| handler.def.formerly.contains(&name)))
}

/// Whether a handler takes an event: told by its type, where it claims one, and else by its first
/// routing key.
fn fits(handler: &HandlerDef, origin: &Origin, aggregate_type: Option<&str>) -> bool {
    let bound = handler.binds.iter().any(|bind| topic::matches(bind, &origin.routing_key));
    bound
        && handler.kinds().is_none_or(|kinds| {
            kinds.iter().any(|kind| match origin.event_type.as_deref() {
                Some(name) => kind.name == name && aggregate_type.is_none_or(|of| of == kind.aggregate),
                None => kind.key == origin.routing_key,
            })
        })
}
