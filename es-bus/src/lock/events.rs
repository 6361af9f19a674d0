//! Which changes of an event, and of its schema, a running system does not stand. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Lock, LockedBinding, LockedEvent, finding::Findings, text::inline};
use crate::{
    exchange::ExchangeKind,
    schema::{CLOSED, Field, ROOT},
};

/// A field as a line of the lock.
pub(super) fn line(at: &str, field: &Field) -> String {
    format!("{at}{}: {}", if field.is_required { "" } else { "?" }, field.kind)
}

pub(super) fn check(was: &BTreeMap<String, LockedEvent>, now: &Lock, findings: &mut Findings) {
    let names: BTreeSet<&String> = was.keys().chain(now.events.keys()).collect();
    for name in names {
        let subject = format!("event {name:?}");
        match (was.get(name), now.events.get(name)) {
            (Some(was), Some(is)) => changed(was, is, &subject, findings),
            (Some(was), None) => gone(was, now, &subject, findings),
            (None, Some(_)) => findings.harmless(&subject, "is new"),
            (None, None) => {}
        }
    }
}

/// What is different about the messages of events, beside their bodies.
pub(super) fn messages(
    was: &BTreeMap<String, LockedEvent>,
    now: &BTreeMap<String, LockedEvent>,
    findings: &mut Findings,
) {
    for (name, was) in was {
        let Some(is) = now.get(name) else { continue };
        let subject = format!("event {name:?}");
        let or = |value: Option<String>| value.unwrap_or_else(|| "not set".to_owned());
        let told = |event: &LockedEvent| {
            [
                ("persistent", event.persistent.to_string()),
                ("priority", or(event.priority.map(|it| it.to_string()))),
                ("ttl_ms", or(event.ttl_ms.map(|it| it.to_string()))),
                ("unroutable", or(event.unroutable.clone())),
            ]
        };
        for ((what, was), (_, is)) in told(was).into_iter().zip(told(is)).filter(|(was, is)| was != is) {
            findings.harmless(&subject, format!("{what} was {was}, is {is}"));
        }
        for (header, value) in &was.headers {
            let is = is.headers.get(header);
            if is != Some(value) {
                let is = is.map_or_else(|| "not set".to_owned(), inline);
                findings.breaks(
                    &subject,
                    format!("header {header} was {}, is {is}: who is bound by the one does not get the other", inline(value)),
                    "let every group that takes it bind both, here and elsewhere, before the first is published",
                );
            }
        }
        for (header, value) in is.headers.iter().filter(|(header, _)| !was.headers.contains_key(*header)) {
            findings.harmless(&subject, format!("header {header} was not set, is {}", inline(value)));
        }
    }
}

fn gone(was: &LockedEvent, now: &Lock, subject: &str, findings: &mut Findings) {
    let kind = |exchange: &str| now.exchanges.get(exchange).and_then(|it| ExchangeKind::named(&it.kind));
    // A headers exchange picks by what is not written down here.
    let brings = |binding: &LockedBinding| {
        kind(&binding.exchange)
            .filter(|kind| *kind != ExchangeKind::Headers)
            .is_some_and(|kind| kind.delivers(&binding.key, &was.key))
    };
    // Over exchanges that get it from one another.
    let mut way: Vec<&str> = vec![&was.exchange];
    let mut gone = 0;
    while let Some(at) = way.get(gone).copied() {
        gone += 1;
        for (name, exchange) in &now.exchanges {
            let gets = exchange.from.iter().any(|binding| binding.exchange == at && brings(binding));
            if gets && !way.contains(&name.as_str()) {
                way.push(name);
            }
        }
    }
    let bound: Vec<&str> = now
        .queues
        .iter()
        .filter(|(_, queue)| {
            queue.bindings.iter().any(|binding| way.contains(&binding.exchange.as_str()) && brings(binding))
        })
        .map(|(name, _)| name.as_str())
        .collect();
    if bound.is_empty() {
        findings.harmless(subject, "is gone, and nothing here is bound to it");
        return;
    }
    findings.breaks(
        subject,
        format!(
            "is gone, and {} still bound to {:?}: what others publish is unknown here",
            is_or_are(&bound),
            was.key
        ),
        "retire it (`retired = [..]` of the group), and take it out when nobody publishes it any more",
    );
}

fn is_or_are(queues: &[&str]) -> String {
    let names: Vec<String> = queues.iter().map(|name| format!("queue {name:?}")).collect();
    format!("{} {}", names.join(", "), if names.len() == 1 { "is" } else { "are" })
}

fn changed(was: &LockedEvent, is: &LockedEvent, subject: &str, findings: &mut Findings) {
    if (&was.exchange, &was.key) != (&is.exchange, &is.key) {
        findings.breaks(
            subject,
            format!(
                "was published to {:?} as {:?}, is published to {:?} as {:?}: who is bound to the one does not get the \
                 other",
                was.exchange, was.key, is.exchange, is.key
            ),
            "let every group that takes it bind both, here and elsewhere, before the first is published",
        );
    }
    if was.nested != is.nested {
        let style = |nested| if nested { "under `payload`" } else { "beside the envelope's" };
        findings.breaks(
            subject,
            format!("its fields stood {}, stand {}", style(was.nested), style(is.nested)),
            "declare an event of another name, and let all readers know it before it is published",
        );
    }
    if is.version < was.version {
        findings.breaks(
            subject,
            format!("its version was {}, is {}", was.version, is.version),
            "versions go up only",
        );
    } else if is.version > was.version {
        findings.harmless(subject, format!("its version was {}, is {}", was.version, is.version));
    }
    match (&was.schema, &is.schema) {
        (Some(was), Some(is)) => schema(&fields(was), &fields(is), subject, findings),
        (Some(_), None) => findings.breaks(
            subject,
            "has no schema any more, so that nobody can tell what changes",
            "let its type derive `JsonSchema`, and es-bus have the feature `schema`",
        ),
        (None, Some(_)) => findings.harmless(subject, "has a schema now"),
        (None, None) => {}
    }
}

fn schema(was: &BTreeMap<&str, Field>, is: &BTreeMap<&str, Field>, subject: &str, findings: &mut Findings) {
    let paths: BTreeSet<&str> = was.keys().chain(is.keys()).copied().collect();
    let mut told: Vec<&str> = Vec::new();
    // A field before what is in it: of that nothing is told, where the field itself is another one.
    for at in paths {
        if told.iter().any(|outer| is_within(at, outer)) {
            continue;
        }
        match (was.get(at), is.get(at)) {
            (Some(was), Some(is)) => {
                if of_type(at, was, is, subject, findings) {
                    told.push(at);
                }
            }
            (Some(field), None) => {
                told.push(at);
                removed(at, field, is, subject, findings);
            }
            (None, Some(field)) => {
                told.push(at);
                added(at, field, was, subject, findings);
            }
            (None, None) => {}
        }
    }
}

/// Compares a field that is in both; says whether it is another one now.
fn of_type(at: &str, was: &Field, is: &Field, subject: &str, findings: &mut Findings) -> bool {
    let (old, new) = (was.kind.replace(CLOSED, ""), is.kind.replace(CLOSED, ""));
    if old != new {
        findings.breaks(
            subject,
            format!("field {at} was {}, is {}: neither side reads what the other writes", was.kind, is.kind),
            "keep the field as it is and add another one beside it, or declare an event of another name",
        );
        return true;
    }
    let [was_closed, is_closed] = [was, is].map(|field| field.kind.contains(CLOSED));
    match (was_closed, is_closed) {
        (false, true) => findings.breaks(
            subject,
            format!("{} refuses fields that it does not know now: of newer and of older messages", whole(at)),
            "leave `deny_unknown_fields` away, or see first that nobody writes more",
        ),
        (true, false) => {
            findings.harmless(subject, format!("{} takes fields that it does not know", whole(at)))
        }
        (false, false) | (true, true) => {}
    }
    match (was.is_required, is.is_required) {
        (false, true) => findings.breaks(
            subject,
            format!("field {at} is required now: messages without it, which wait in queues, cannot be read"),
            "leave it a default (`#[serde(default)]`)",
        ),
        (true, false) => findings.harmless(
            subject,
            format!("field {at} is optional now; it has to be written until every reader does without it"),
        ),
        (false, false) | (true, true) => {}
    }
    false
}

fn added(at: &str, field: &Field, was: &BTreeMap<&str, Field>, subject: &str, findings: &mut Findings) {
    if field.is_required {
        findings.breaks(
            subject,
            format!(
                "field {at} is new and required: messages without it, which wait in queues, cannot be read"
            ),
            "give it a default (`#[serde(default)]`, or an `Option`)",
        );
    } else if is_closed_around(at, was) {
        findings.breaks(
            subject,
            format!(
                "field {at} is new, and readers of the former version refuse fields that they do not know"
            ),
            "deploy a version without `deny_unknown_fields` everywhere, then one with the field",
        );
    } else {
        findings.harmless(subject, format!("field {at} is new and optional"));
    }
}

fn removed(at: &str, field: &Field, is: &BTreeMap<&str, Field>, subject: &str, findings: &mut Findings) {
    if field.is_required {
        findings.breaks(
            subject,
            format!("field {at} is gone, and readers of the former version require it"),
            "make it optional, deploy that to every reader, and take it out after that",
        );
    } else if is_closed_around(at, is) {
        findings.breaks(
            subject,
            format!(
                "field {at} is gone, and messages that have it, which wait in queues, are refused for it"
            ),
            "leave `deny_unknown_fields` away, or keep the field until none waits any more",
        );
    } else {
        findings.harmless(subject, format!("field {at} is gone, and was optional"));
    }
}

/// Whether the object that a field is in refuses what it does not know.
fn is_closed_around(at: &str, fields: &BTreeMap<&str, Field>) -> bool {
    let outer = fields.iter().filter(|(outer, _)| **outer != ROOT && is_within(at, outer));
    let nearest = outer.max_by_key(|(outer, _)| outer.len()).map(|(_, field)| field);
    nearest.or_else(|| fields.get(ROOT)).is_some_and(|field| field.kind.contains(CLOSED))
}

fn is_within(at: &str, outer: &str) -> bool {
    at.strip_prefix(outer).is_some_and(|rest| rest.starts_with(['.', '[', '{']))
}

fn whole(at: &str) -> String {
    if at == ROOT { "it".to_owned() } else { format!("field {at}") }
}

/// Reads the lines of a schema; one that is none has no type.
pub(super) fn fields(lines: &[String]) -> BTreeMap<&str, Field> {
    lines
        .iter()
        .map(|line| {
            let (at, kind) = line.split_once(": ").unwrap_or((line, ""));
            let (at, is_required) = at.strip_suffix('?').map_or((at, true), |at| (at, false));
            (at, Field { is_required, kind: kind.to_owned() })
        })
        .collect()
}
