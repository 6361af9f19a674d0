//! What the process that starts has to have: handlers, the groups it selects, their state.

use std::{any::TypeId, collections::BTreeMap};

use super::{Facts, Finding, Registry, handler_place, listed};
use crate::{
    registry::{FindingKind, Place},
    suggest::nearest,
};

pub(super) fn check(registry: &Registry, facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    if !facts.consumes {
        return;
    }
    if registry.handlers().is_empty() {
        findings.push(no_handlers(registry));
        return;
    }
    for group in facts.groups.unwrap_or_default() {
        findings.extend(selected(registry, group));
    }
    for (group, handler) in facts.layered {
        findings.extend(layered(registry, group, *handler));
    }
    missing_state(registry, facts, findings);
}

fn no_handlers(registry: &Registry) -> Finding {
    let (message, help) = if registry.is_collected() {
        (
            "no handlers are registered: nothing in this program is marked `#[handler]`, or the crate that \
             holds them is a dependency that is never named",
            "mark a function `#[handler]`, or add `use that_crate as _;` to main.rs: a crate that no code \
             names is not linked (the package's own lib.rs included)",
        )
    } else {
        (
            "no handlers are registered: the registry was made by hand and holds none",
            "add `.handler::<the_function>()`, or start from `Registry::collected()`",
        )
    };
    Finding::new(FindingKind::NoHandlers, message, Vec::new(), help)
}

fn selected(registry: &Registry, group: &str) -> Option<Finding> {
    if registry.handlers_of(group).next().is_some() {
        return None;
    }
    if let Some(def) = registry.group_def(group) {
        return Some(Finding::new(
            FindingKind::EmptyGroup,
            format!("group {group:?} ({}) is selected to be consumed, and has no handlers", def.location),
            vec![Place::new(format!("group {group:?}"), def.location)],
            "select another group, or add a handler; if it stands in a crate that is never named, add \
             `use that_crate as _;` to main.rs",
        ));
    }
    let known = registry.group_names();
    let guess = match nearest(group, known.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    Some(Finding::new(
        FindingKind::UnknownGroup,
        format!("group {group:?} is selected to be consumed, and no handler names it{guess}"),
        Vec::new(),
        format!("correct `.groups([..])` or `ES_BUS_GROUPS`; this program has {}", listed(&known)),
    ))
}

/// A layer around something that is not there.
fn layered(registry: &Registry, group: &str, handler: Option<&str>) -> Option<Finding> {
    let groups = registry.group_names();
    let (what, name, known) = if !groups.contains(&group) {
        ("group", group, groups)
    } else {
        let handlers: Vec<&str> = registry.handlers_of(group).map(|def| def.name).collect();
        let missing = handler.filter(|name| !handlers.contains(name))?;
        ("handler", missing, handlers)
    };
    let whose = if what == "handler" { format!(" of group {group:?}") } else { String::new() };
    let guess = match nearest(name, known.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => String::new(),
    };
    Some(Finding::new(
        FindingKind::UnknownLayered,
        format!("a layer is put around {what} {name:?}{whose}, and there is none{guess}"),
        Vec::new(),
        format!("correct `.layer_for_{what}(..)`; there is {}", listed(&known)),
    ))
}

/// One finding per type, however many handlers need it.
fn missing_state(registry: &Registry, facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let Some(state) = facts.state else { return };
    let mut missing: BTreeMap<(&'static str, TypeId), Vec<Place>> = BTreeMap::new();
    for handler in registry.handlers().iter().filter(|def| facts.selects(def.group.name)) {
        let mut needs = Vec::new();
        (handler.needs)(&mut needs);
        for need in needs.into_iter().filter(|need| !state.contains(need.id)) {
            missing.entry((need.type_name, need.id)).or_default().push(handler_place(handler));
        }
    }
    for ((type_name, _), mut places) in missing {
        places.sort();
        places.dedup();
        let message = match places.as_slice() {
            [place] => format!("{place} needs `State<{type_name}>`, and no value of that type was provided"),
            places => {
                let count = places.len();
                format!("{count} handlers need `State<{type_name}>`, and no value of that type was provided")
            }
        };
        findings.push(Finding::new(
            FindingKind::MissingState,
            message,
            places,
            format!("add `.state(value)` to the builder of the bus, with a value of type `{type_name}`"),
        ));
    }
}
