//! Settings of a group that undo each other.

use std::time::Duration;

use super::{GraphFinding, Severity};
use crate::{
    duration,
    model::{Overflow, QueueKind, policy::Ordering},
    topology::{GroupSpec, Program},
};

pub(super) fn check(program: &Program<'_>, group: &GroupSpec, findings: &mut Vec<GraphFinding>) {
    let name = group.name.as_str();
    let told =
        [one_active(group), drop_head(group), short_dead_letters(group), short_strict(group), weight(group)];
    let place = program.group_place(name);
    for (message, help) in told.into_iter().flatten() {
        findings.push(GraphFinding::new(Severity::Caution, Some(name), message, place.clone(), help));
    }
    findings.extend(retired(program, group));
}

type Told = (String, &'static str);

/// A share of nothing.
fn weight(group: &GroupSpec) -> Option<Told> {
    let weight = group.settings.weight;
    (weight != 1 && !group.has_shares()).then(|| {
        (
            format!(
                "group {:?} has weight {weight}, and is bound to no consistent-hash exchange, where that would count",
                group.name.as_str()
            ),
            "leave `weight` out, or name such an exchange: `#[group(exchange = ..)]`",
        )
    })
}

/// One active process is there for order, and no order throws that away.
fn one_active(group: &GroupSpec) -> Option<Told> {
    let settings = &group.settings;
    let contradicts = settings.single_active_consumer
        && settings.ordering == Ordering::None
        && settings.concurrency > 1
        && !group.is_exclusive();
    contradicts.then(|| {
        let (name, concurrency) = (group.name.as_str(), settings.concurrency);
        (
            format!(
                "group {name:?} has single_active_consumer, and with ordering \"none\" the one active process handles \
                 {concurrency} events at once, in any order: the other processes idle for nothing"
            ),
            "set `ordering` to \"aggregate\" or \"strict\" for the order, or leave `single_active_consumer` out",
        )
    })
}

/// What is to be dropped from a queue that is never full.
fn drop_head(group: &GroupSpec) -> Option<Told> {
    let settings = &group.settings;
    let has_limit = settings.max_length.is_some() || settings.max_length_bytes.is_some();
    (settings.overflow == Overflow::DropHead && !has_limit).then(|| {
        let cost = if group.keeps_dead_letters() && settings.kind == QueueKind::Quorum {
            ", while the broker dead-letters at most once because of it"
        } else {
            ""
        };
        (
            format!(
                "group {:?} has overflow \"drop-head\" and no max_length: its queue is never full{cost}",
                group.name.as_str()
            ),
            "leave `overflow` out, or set `max_length`",
        )
    })
}

/// Dead letters that are gone before the retries of what fails by the same cause are over.
fn short_dead_letters(group: &GroupSpec) -> Option<Told> {
    let ttl = group.settings.dlq_ttl.filter(|_| group.keeps_dead_letters())?;
    let spans = group.handlers.iter().map(|handler| (handler.policy.span(), handler));
    let (span, handler) = spans.max_by_key(|(span, _)| *span)?;
    (span > ttl).then(|| {
        (
            format!(
                "group {:?} keeps dead letters for {} (dlq_ttl), and its handler {:?} goes on trying for {}: what one \
                 failure left is gone while the next is still being tried",
                group.name.as_str(),
                duration::print(ttl),
                &*handler.name,
                duration::print(whole(span)),
            ),
            "raise `dlq_ttl`, or lower `retries` or `backoff`",
        )
    })
}

/// Events that expire behind one that is tried again in place.
fn short_strict(group: &GroupSpec) -> Option<Told> {
    let ttl = group.settings.message_ttl.filter(|_| group.settings.ordering == Ordering::Strict)?;
    let (span, handler) = group
        .handlers
        .iter()
        .map(|handler| (handler.policy.span(), handler))
        .max_by_key(|(span, _)| *span)?;
    (span > ttl).then(|| {
        (
            format!(
                "group {:?} has ordering \"strict\" and message_ttl {}, and its handler {:?} may keep the queue waiting \
                 for {}: what is behind a failing event expires",
                group.name.as_str(),
                duration::print(ttl),
                &*handler.name,
                duration::print(whole(span)),
            ),
            "raise `message_ttl`, or lower `retries` or `backoff`",
        )
    })
}

/// A key that the configuration gives up, and that a handler is bound to.
fn retired(program: &Program<'_>, group: &GroupSpec) -> Vec<GraphFinding> {
    let name = group.name.as_str();
    let of_key = |key: &String| {
        let bound =
            group.handlers.iter().filter(|handler| handler.bound.iter().any(|bound| bound.key == *key));
        let bound: Vec<&str> = bound.map(|handler| &*handler.name).collect();
        let places = bound.iter().filter_map(|handler| program.handler_place(name, handler));
        (!bound.is_empty()).then(|| {
            GraphFinding::new(
                Severity::Caution,
                Some(name),
                format!(
                    "group {name:?} gives {key:?} up (`retired`), and {} still bound to it: it stays bound",
                    match bound.as_slice() {
                        [one] => format!("its handler {one:?} is"),
                        several => format!("its handlers {} are", several.join(", ")),
                    }
                ),
                places,
                "take the key out of `retired`, or out of the handlers",
            )
        })
    };
    group.settings.retired.iter().filter_map(of_key).collect()
}

/// Without what a person does not want to read.
fn whole(span: Duration) -> Duration {
    if span > Duration::from_secs(10) { Duration::from_secs(span.as_secs()) } else { span }
}
