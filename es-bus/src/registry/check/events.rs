//! Events that get in each other's way.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Program, event_place, handler_place, listed};
use crate::{
    event::EventKind,
    exchange::ExchangeKind,
    name::{ExchangeName, MAX_NAME_LEN},
    registry::{EventDef, FindingKind, HandlerDef},
    topic,
};

type Declared = (&'static EventDef, &'static EventKind);

pub(super) fn check(program: &Program<'_>, findings: &mut Vec<Finding>) {
    let declared: Vec<Declared> = program
        .registry
        .events()
        .iter()
        .flat_map(|def| def.kinds.iter().map(move |kind| (*def, kind)))
        .collect();
    for (def, kind) in &declared {
        names(def, kind, findings);
    }
    // A view is a second look at what somebody else declares: it is nobody's rival.
    let owned: Vec<Declared> = declared.iter().copied().filter(|(def, _)| !def.view).collect();
    duplicate_keys(program, &owned, findings);
    overlapping_keys(program, &owned, findings);
    duplicate_events(program, &owned, findings);
    for handler in program.registry.handlers() {
        if let Some(kinds) = handler.kinds() {
            same_name_in_one_handler(handler, kinds, findings);
            same_name_through_a_wide_binding(program, handler, kinds, &declared, findings);
        }
    }
}

fn names(def: &'static EventDef, kind: &EventKind, findings: &mut Vec<Finding>) {
    let place = event_place(def);
    let mut invalid = |message: String, help: &str| {
        findings.push(Finding::new(FindingKind::InvalidName, message, vec![place.clone()], help));
    };
    let fault = match kind.has_fields() {
        true => topic::binding_key_fault(kind.key),
        false => topic::routing_key_fault(kind.key),
    };
    if let Some(fault) = fault {
        invalid(
            format!("routing key {:?} of {place} {}", kind.key, fault.describe()),
            "correct `key`, or the names that it is made of",
        );
    }
    // The property `type` is a short string.
    if kind.name.is_empty() || kind.name.len() > MAX_NAME_LEN {
        invalid(
            format!("{place} has a name of {} bytes; AMQP carries 1 to {MAX_NAME_LEN}", kind.name.len()),
            "give it another one with `#[event(name = \"...\")]`",
        );
    }
    if let Some(Err(error)) = kind.exchange.map(ExchangeName::new) {
        invalid(format!("{error}: the exchange of {place}"), "correct `exchange`");
    }
}

fn duplicate_keys(program: &Program<'_>, owned: &[Declared], findings: &mut Vec<Finding>) {
    let mut by_key: BTreeMap<_, Vec<Declared>> = BTreeMap::new();
    for (def, kind) in owned {
        by_key.entry((kind.key, program.exchange(kind))).or_default().push((def, kind));
    }
    for ((key, exchange), same) in by_key {
        if same.len() < 2 {
            continue;
        }
        findings.push(Finding::new(
            FindingKind::DuplicateKey,
            format!("routing key `{key}` on exchange {exchange:?} belongs to {} events", same.len()),
            same.iter().map(|(def, _)| event_place(def)).collect(),
            "give one of them another `key`, or mark the one that only reads what the other publishes \
             with `#[event(view)]`",
        ));
    }
}

/// Keys with fields, which may come to be the key of another event: whoever is bound to that gets both.
fn overlapping_keys(program: &Program<'_>, owned: &[Declared], findings: &mut Vec<Finding>) {
    for (index, (def, kind)) in owned.iter().enumerate() {
        for (other_def, other) in &owned[..index] {
            let overlap = (kind.has_fields() || other.has_fields())
                && kind.key != other.key
                && program.exchange(kind) == program.exchange(other)
                && program.kind(program.exchange(kind)) == ExchangeKind::Topic
                && topic::may_match(kind.key, other.key);
            if !overlap {
                continue;
            }
            findings.push(Finding::new(
                FindingKind::DuplicateKey,
                format!(
                    "routing keys `{}` and `{}` on exchange {:?} may be one key, and belong to two events",
                    other.key,
                    kind.key,
                    program.exchange(kind)
                ),
                vec![event_place(other_def), event_place(def)],
                "give one of them another `key`: a word that differs, before the fields or behind them",
            ));
        }
    }
}

/// One event of one aggregate under several keys: whoever is bound to one key misses the others.
/// On different exchanges it is two streams, and said so on purpose.
fn duplicate_events(program: &Program<'_>, owned: &[Declared], findings: &mut Vec<Finding>) {
    let mut by_name: BTreeMap<_, Vec<Declared>> = BTreeMap::new();
    for (def, kind) in owned {
        by_name.entry((kind.aggregate, kind.name, program.exchange(kind))).or_default().push((def, kind));
    }
    for ((aggregate, name, _), same) in by_name {
        let keys: BTreeSet<_> = same.iter().map(|(_, kind)| kind.key).collect();
        if keys.len() < 2 {
            continue;
        }
        let keys: Vec<_> = keys.into_iter().collect();
        findings.push(Finding::new(
            FindingKind::DuplicateEvent,
            format!(
                "event `{name}` of aggregate `{aggregate}` has {} routing keys, {}",
                keys.len(),
                listed(&keys)
            ),
            same.iter().map(|(def, _)| event_place(def)).collect(),
            "a message is told by the name of its event: rename one of them, give both the same `key`, or \
             mark the one that only reads with `#[event(view)]`",
        ));
    }
}

/// A set whose events share a name cannot tell them apart.
fn same_name_in_one_handler(handler: &'static HandlerDef, kinds: &[EventKind], findings: &mut Vec<Finding>) {
    let mut by_name: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for kind in kinds {
        by_name.entry(kind.name).or_default().insert(kind.key);
    }
    for (name, keys) in by_name {
        if keys.len() < 2 {
            continue;
        }
        let place = handler_place(handler);
        let keys: Vec<_> = keys.into_iter().collect();
        findings.push(Finding::new(
            FindingKind::AmbiguousEvent,
            format!("{place} takes {} events named `{name}`: {}", keys.len(), listed(&keys)),
            vec![place],
            "a message is told by the name of its event: rename one with `#[event(name = \"...\")]`, or give \
             each a handler of its own",
        ));
    }
}

/// A wide binding that brings a namesake: it would be decoded as the handler's own event.
fn same_name_through_a_wide_binding(
    program: &Program<'_>,
    handler: &'static HandlerDef,
    kinds: &[EventKind],
    declared: &[Declared],
    findings: &mut Vec<Finding>,
) {
    for (def, other) in declared {
        let Some(own) = kinds
            .iter()
            .find(|kind| kind.name == other.name && program.exchange(kind) == program.exchange(other))
        else {
            continue;
        };
        if kinds.iter().any(|kind| kind.key == other.key) {
            continue;
        }
        let exchange = program.kind(program.exchange(other));
        let Some(bind) = handler.binds.iter().find(|bind| bind.may_take(exchange, other)) else { continue };
        findings.push(Finding::new(
            FindingKind::AmbiguousEvent,
            format!(
                "binding `{bind}` also brings `{}`, which would be taken for `{}`: both are named `{}`",
                other.key, own.key, own.name
            ),
            vec![handler_place(handler), event_place(def)],
            "narrow `bind` (left out, it is exactly the keys of the events that the handler takes), or rename \
             one event with `#[event(name = \"...\")]`",
        ));
    }
}
