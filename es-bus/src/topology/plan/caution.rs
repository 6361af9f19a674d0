//! What works today and will not after an upgrade, and what policies do behind a declaration's back. Pure.

use super::{step::Warning, text};
use crate::model::{
    Observed, ObservedQueue, Policy, Queue, Topology, View,
    equivalence::{is_same, shown},
};

/// Everything to warn of.
pub(super) fn of(wanted: &Topology, observed: &Observed) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if observed.view == View::Memory {
        return warnings;
    }
    version(observed, &mut warnings);
    for queue in wanted.queues().filter(|queue| !queue.exclusive) {
        let name = queue.name.as_str();
        if !queue.durable {
            warn(&mut warnings, name, TRANSIENT);
        }
        if queue.arguments.get("x-queue-mode").is_some() {
            warn(
                &mut warnings,
                name,
                "x-queue-mode does nothing from RabbitMQ 3.12 on: leave the argument out",
            );
        }
        if let Some(found) = observed.queues.get(name) {
            found_queue(queue, found, observed, &mut warnings);
        }
        operators(queue, observed, &mut warnings);
    }
    for feature in observed.deprecated.iter().flatten() {
        warnings.push(Warning { about: "the broker".to_owned(), text: deprecated(feature) });
    }
    warnings
}

fn warn(warnings: &mut Vec<Warning>, queue: &str, text: impl Into<String>) {
    warnings.push(Warning { about: format!("queue {queue:?}"), text: text.into() });
}

fn version(observed: &Observed, warnings: &mut Vec<Warning>) {
    let Some(broker) = &observed.broker else { return };
    let mut numbers = broker.version.split('.').map(str::parse);
    if let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next())
        && (major, minor) < OLDEST
    {
        warnings.push(Warning {
            about: "the broker".to_owned(),
            text: format!(
                "RabbitMQ {} is older than {}.{}, from which on a retry queue keeps what it has until the work queue has \
                 it: upgrade it",
                broker.version, OLDEST.0, OLDEST.1
            ),
        });
    }
}

/// What operators set beside the policy of a queue, which is no conflict: the lower counts.
fn operators(queue: &Queue, observed: &Observed, warnings: &mut Vec<Warning>) {
    let Some(policy) = queue.policy() else { return };
    let all = observed.operator_policies.iter().flatten();
    for operator in all.filter(|it| it.applies_to(queue) == Some(true)) {
        let lower = operator.definition.iter().filter(|(key, value)| {
            let own = policy.definition.get_int(key);
            LIMITS.contains(key) && own.is_some_and(|own| value.as_int().is_some_and(|it| it < own))
        });
        let lower: Vec<String> = lower.map(|(key, value)| format!("{key} = {}", shown(value))).collect();
        if !lower.is_empty() {
            let text = format!(
                "operator policy {} limits it to {}, lower than policy {:?} does: the lower counts",
                operator.told(),
                lower.join(", "),
                policy.name()
            );
            warn(warnings, queue.name.as_str(), text);
        }
    }
}

fn found_queue(queue: &Queue, found: &ObservedQueue, observed: &Observed, warnings: &mut Vec<Warning>) {
    let name = queue.name.as_str();
    if let Some(trouble) = &found.trouble {
        warn(warnings, name, format!("it cannot be used now: {trouble}"));
    }
    let name_of_own = Policy::name_for(&queue.name);
    let policy = match found.policy.as_deref() {
        None => "a policy".to_owned(),
        Some(policy) if policy == name_of_own => "an operator policy".to_owned(),
        Some(policy) => format!("policy {policy:?}"),
    };
    // What it is to set, and what it sets until it is changed or deleted, which the plan tells.
    let own = queue.policy().map(|own| own.definition);
    let there = observed.policies.iter().flatten().find(|it| it.name == name_of_own);
    let is_own = |key: &str| own.iter().chain(there.map(|it| &it.definition)).any(|it| it.get(key).is_some());
    let Some(settings) = &found.settings else { return };
    if found.policy_sets.iter().any(|(key, _)| key.starts_with("ha-")) {
        warn(
            warnings,
            name,
            format!(
                "{policy} mirrors it; RabbitMQ 4 has no mirrored queues, and would keep it on one node: make it a quorum \
                 queue before the upgrade"
            ),
        );
    }
    let is_limited = settings.arguments.get("x-delivery-limit").is_some()
        || found.policy_sets.get("delivery-limit").is_some();
    if settings.kind == "quorum" && !is_limited {
        warn(
            warnings,
            name,
            "it has no x-delivery-limit; from RabbitMQ 4 on that means 20, and a message that comes back more often is \
             dead-lettered or lost",
        );
    }
    // What an argument says, a policy does not change, but for limits, where the lower one counts, and for what a full
    // quorum queue does (RabbitMQ 3.10).
    let sets: Vec<String> = found
        .policy_sets
        .iter()
        .filter(|(key, _)| !is_own(key))
        .filter(|(key, value)| {
            let argument = settings.arguments.get(&format!("x-{key}"));
            let lower = || argument.and_then(|it| it.as_int()) > value.as_int();
            let overflows = *key == "overflow" && settings.kind == "quorum";
            CHANGES.contains(key) && argument.is_none()
                || LIMITS.contains(key) && argument.is_some() && lower()
                || overflows && argument.is_some_and(|argument| !is_same(argument, value))
        })
        .map(|(key, value)| format!("{key} = {}", shown(value)))
        .collect();
    if !sets.is_empty() {
        warn(
            warnings,
            name,
            format!(
                "{policy} sets {} on it, which this program does not declare: messages may expire, be dropped or go \
                 elsewhere (`rabbitmqctl list_policies`)",
                sets.join(", ")
            ),
        );
    }
}

/// Features that RabbitMQ lists as given up, and in use.
fn deprecated(feature: &str) -> String {
    let what = match feature {
        "classic_queue_mirroring" => "mirrored classic queues, which RabbitMQ 4 has not".to_owned(),
        "transient_nonexcl_queues" => "transient queues that are not exclusive".to_owned(),
        "global_qos" => "a prefetch for whole channels (`global`), which es-bus does not ask for".to_owned(),
        other => text::quoted(other),
    };
    format!(
        "somebody uses {what}: a later version refuses it (`rabbitmq-diagnostics list_deprecated_features --used`)"
    )
}

const TRANSIENT: &str = "it is neither durable nor exclusive; RabbitMQ gives such queues up (deprecated feature \
                         transient_nonexcl_queues): make the group durable";

/// The first version whose quorum queues have message TTLs and at-least-once dead-lettering.
const OLDEST: (u32, u32) = (3, 10);

/// What a policy can set that changes where messages end.
const CHANGES: &[&str] = &[
    "message-ttl",
    "expires",
    "max-length",
    "max-length-bytes",
    "overflow",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "dead-letter-strategy",
    "delivery-limit",
];
/// Of which the lower counts, where both say one.
const LIMITS: &[&str] = &["message-ttl", "expires", "max-length", "max-length-bytes", "delivery-limit"];
