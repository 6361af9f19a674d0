//! Handlers that go by one name.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Program, handler_place};
use crate::registry::{FindingKind, HandlerDef, Place};

pub(super) fn check(program: &Program<'_>, findings: &mut Vec<Finding>) {
    let mut claims: BTreeMap<(&str, &str), Vec<Place>> = BTreeMap::new();
    for handler in program.registry.handlers() {
        let names: BTreeSet<&str> = handler.formerly.iter().chain([&handler.name]).copied().collect();
        for name in names {
            claims.entry((handler.group.name, name)).or_default().push(claim(handler, name));
        }
        if handler.name.is_empty() || handler.name.chars().any(char::is_control) {
            findings.push(Finding::new(
                FindingKind::InvalidName,
                format!("the name {:?} of the handler at {} cannot be used", handler.name, handler.location),
                vec![handler_place(handler)],
                "a name has letters: retries and dead letters carry it",
            ));
        }
    }
    for ((group, name), places) in claims {
        if places.len() < 2 {
            continue;
        }
        findings.push(Finding::new(
            FindingKind::DuplicateHandler,
            format!("{} handlers of group {group:?} go by the name `{name}`", places.len()),
            places,
            "name one of them with `#[handler(name = \"...\")]`, or take the name out of its `formerly`: \
             retries and dead letters find a handler by group and name",
        ));
    }
}

fn claim(handler: &HandlerDef, name: &str) -> Place {
    let mut place = handler_place(handler);
    if name != handler.name {
        place.what = format!("{}, formerly `{name}`", place.what);
    }
    place
}
