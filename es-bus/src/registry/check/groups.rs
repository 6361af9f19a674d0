//! Groups that are defined twice, that cannot be named, or that retire what they take.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Program, handler_place, listed, setting};
use crate::{
    name::{ExchangeName, GroupName, InvalidName, QueueName},
    registry::{FindingKind, GroupDef, Place},
    topic,
};

/// The longest that is added to the name of a group's queue: a retry queue of the longest delay.
const LONGEST_SUFFIX: &str = ".retry.2592000000ms";

pub(super) fn check(program: &Program<'_>, findings: &mut Vec<Finding>) {
    for group in program.registry.group_names() {
        names(program, group, findings);
        conflict(program, group, findings);
    }
    for def in program.registry.groups() {
        retired(program, def, findings);
    }
    claims(program, findings);
}

/// Names that a group has, or had: what waits under one comes to one group.
fn claims(program: &Program<'_>, findings: &mut Vec<Finding>) {
    let mut claims: BTreeMap<&str, BTreeMap<&str, Place>> = BTreeMap::new();
    for group in program.registry.group_names() {
        let place = program.registry.handlers_of(group).next().map(handler_place);
        let place = program
            .registry
            .group_def(group)
            .map(|def| Place::new(format!("group {group:?}"), def.location))
            .or(place);
        claims.entry(group).or_default().extend(place.map(|place| (group, place)));
    }
    for def in program.registry.groups() {
        for name in def.formerly {
            let what = format!("group {:?}, formerly {name:?}", def.name);
            let place = Place::new(what, def.location);
            claims.entry(name).or_default().entry(def.name).or_insert(place.clone());
            let fault = match GroupName::new(*name) {
                Err(error) => error.to_string(),
                Ok(_) if *name == def.name => {
                    format!("group {name:?} has that name now: `formerly` lists names that it had before")
                }
                Ok(_) => continue,
            };
            findings.push(Finding::new(
                FindingKind::InvalidName,
                format!("{fault} ({})", def.location),
                vec![place],
                "take the name out of `formerly`",
            ));
        }
    }
    for (name, groups) in claims.into_iter().filter(|(_, groups)| groups.len() > 1) {
        findings.push(Finding::new(
            FindingKind::DuplicateGroup,
            format!("{} groups go by the name {name:?}", groups.len()),
            groups.into_values().collect(),
            "take the name out of the `formerly` of one of them: what waits in the queue of that name comes to one group",
        ));
    }
}

fn names(program: &Program<'_>, group: &str, findings: &mut Vec<Finding>) {
    let home = program.home(group);
    let place = program
        .registry
        .group_def(group)
        .map(|def| Place::new(format!("group {group:?}"), def.location))
        .or_else(|| program.registry.handlers_of(group).next().map(handler_place));
    let fault = match (GroupName::new(group), ExchangeName::new(home)) {
        (Err(error), _) => Some((error, "give the group another name")),
        (_, Err(error)) => Some((error, "correct the group's `exchange`")),
        _ => QueueName::new(format!("{home}.{group}{LONGEST_SUFFIX}"))
            .or_else(|_| too_long(home, group))
            .err()
            .map(|error| {
                (error, "shorten the name of the group or of its exchange: its queues are named after both")
            }),
    };
    if let Some((error, help)) = fault {
        let at = place.as_ref().map(|place| format!(" ({})", place.location)).unwrap_or_default();
        findings.push(Finding::new(
            FindingKind::InvalidName,
            format!("{error}{at}"),
            place.into_iter().collect(),
            help,
        ));
    }
}

/// Names the longest queue of a group in the error, not one that will never be made.
fn too_long(home: &str, group: &str) -> Result<QueueName, InvalidName> {
    let name = format!("{home}.{group}.retry.{{delay}}");
    let len = home.len() + 1 + group.len() + LONGEST_SUFFIX.len();
    Err(InvalidName::TooLong { what: "queue", name, len })
}

fn conflict(program: &Program<'_>, group: &str, findings: &mut Vec<Finding>) {
    let defs: Vec<&GroupDef> =
        program.registry.groups().iter().copied().filter(|def| def.name == group).collect();
    let names: BTreeSet<&str> = defs.iter().flat_map(|def| def.settings).map(|(name, _)| *name).collect();
    let mut differing: Vec<&str> = names
        .into_iter()
        .filter(|name| {
            let said: BTreeSet<_> = defs.iter().map(|def| setting(def.settings, name)).collect();
            said.len() > 1
        })
        .collect();
    if defs.iter().any(|def| def.formerly != defs[0].formerly) {
        differing.push("formerly");
    }
    if differing.is_empty() {
        return;
    }
    let places = defs.iter().map(|def| {
        let said: Vec<_> = differing
            .iter()
            .map(|name| match setting(def.settings, name) {
                _ if *name == "formerly" => format!("formerly = {:?}", def.formerly),
                Some(value) => format!("{name} = {value}"),
                None => format!("{name} not set"),
            })
            .collect();
        Place::new(said.join(", "), def.location)
    });
    findings.push(Finding::new(
        FindingKind::ConflictingGroup,
        format!("group {group:?} is defined {} times, with different {}", defs.len(), listed(&differing)),
        places.collect(),
        "keep one `#[group]` and name it in every handler (`group = ThatType`), or give the other a name of its own",
    ));
}

fn retired(program: &Program<'_>, group: &'static GroupDef, findings: &mut Vec<Finding>) {
    let entries = setting(group.settings, "retired").into_iter().flat_map(|list| list.split(','));
    for entry in entries.map(str::trim).filter(|entry| !entry.is_empty()) {
        let takers: Vec<_> = program
            .registry
            .handlers_of(group.name)
            .filter(|handler| match handler.kinds() {
                Some(kinds) if !topic::is_pattern(entry) => kinds.iter().any(|kind| kind.key == entry),
                // A wide binding of a raw handler goes on without the retired event, and an event that a
                // handler takes without the wide binding that brought it.
                _ => handler.binds.iter().any(|bind| bind.key() == Some(entry)),
            })
            .map(handler_place)
            .collect();
        if takers.is_empty() {
            continue;
        }
        let mut places = vec![Place::new(format!("group {:?}", group.name), group.location)];
        places.extend(takers);
        findings.push(Finding::new(
            FindingKind::RetiredEvent,
            format!("group {:?} retires `{entry}`, which its handlers still take", group.name),
            places,
            "take the key out of `retired`, or the event out of the handlers",
        ));
    }
}
