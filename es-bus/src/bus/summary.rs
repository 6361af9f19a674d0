//! What the bus says when it starts: what each group consumes, in what order, how often it retries.

use std::{fmt::Write, sync::Arc};

use crate::{
    event::EventKind,
    model::policy::{OnUnknown, Ordering},
    name::ExchangeName,
    registry::Registry,
    retry::RetryPolicy,
    topology::{Exchanges, GraphFinding, GroupSpec, Severity, delay_name},
};

pub(super) fn log(
    groups: &[Arc<GroupSpec>],
    registry: &Registry,
    exchanges: &Exchanges,
    findings: &[GraphFinding],
) {
    let known: Vec<EventKind> = registry.kinds().into_iter().copied().collect();
    for group in groups {
        tracing::info!("{}", line(group, exchanges.default()));
        if let Some(skipped) = skipped(group, &known, exchanges) {
            tracing::info!("{skipped}");
        }
    }
    for finding in findings {
        match finding.severity {
            Severity::Caution => tracing::warn!("{}", finding.line()),
            Severity::Note => tracing::info!("{}", finding.line()),
        }
    }
    if groups.is_empty() {
        tracing::info!(
            "no group is consumed; this process publishes, and consumes what is subscribed while it runs"
        );
    }
}

/// What comes to a group and is skipped, where anything is.
pub(crate) fn skipped(group: &GroupSpec, known: &[EventKind], exchanges: &Exchanges) -> Option<String> {
    let skipped = group.skipped(known, exchanges);
    if skipped.is_empty() || group.on_unknown() != OnUnknown::Skip {
        return None;
    }
    let keys: Vec<_> = skipped.iter().map(|kind| kind.key).collect();
    Some(format!(
        "group {:?} is bound wider than its handlers: {} will be skipped",
        group.name.as_str(),
        keys.join(", ")
    ))
}

/// How often, and after which delays, what fails is tried again: `3 (1s, 2s, 4s)`.
pub(crate) fn retries(policy: &RetryPolicy) -> String {
    let delays: Vec<_> =
        (0..policy.retries).filter_map(|attempt| policy.delay(attempt)).map(delay_name).take(6).collect();
    let more = if policy.retries > 6 { ", …" } else { "" };
    match delays.as_slice() {
        [] => "0".to_owned(),
        _ => format!("{} ({}{more})", policy.retries, delays.join(", ")),
    }
}

/// One line for one group.
pub(super) fn line(group: &GroupSpec, exchange: &ExchangeName) -> String {
    let settings = &group.settings;
    let keys: Vec<_> = group
        .bindings()
        .into_iter()
        .chain(group.bound.iter().map(|late| &late.bound))
        .map(|bound| {
            let asked = bound.in_words();
            if bound.exchange == *exchange { asked } else { format!("{asked} on {}", bound.exchange) }
        })
        .collect();
    let order = match settings.ordering {
        Ordering::Aggregate => "in order per aggregate within this process",
        Ordering::Strict => {
            "in strict order per aggregate (one active process; what fails is retried in place)"
        }
        Ordering::None => "in no order",
    };
    let mut text = format!(
        "group {:?} consumes {} <- {}: {} handler{}, {order}, up to {} at once, prefetch {}",
        group.name.as_str(),
        group.queue,
        keys.join(", "),
        group.handlers.len(),
        if group.handlers.len() == 1 { "" } else { "s" },
        settings.concurrency,
        settings.prefetch,
    );
    for handler in &group.handlers {
        let _ = match handler.policy.retries {
            0 => write!(text, "; {} is never retried", handler.name),
            _ => write!(text, "; {} retries {}", handler.name, retries(&handler.policy)),
        };
    }
    let queues = 1
        + usize::from(group.keeps_dead_letters())
        + group.delays().len()
        + usize::from(group.suspects().is_some());
    let _ = write!(text, "; {queues} queue{}", if queues == 1 { "" } else { "s" });
    let _ = match (group.is_exclusive(), group.keeps_dead_letters()) {
        (true, _) => {
            write!(text, ", of this process alone: it goes with the connection, and retries are in memory")
        }
        (false, true) => write!(text, ", dead letters in {}", group.dlq),
        (false, false) => write!(text, ", no dead letters"),
    };
    text
}
