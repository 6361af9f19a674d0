//! Policies that are wanted against policies that are there: what is to be set, what is to go, and what is in the way.
//!
//! RabbitMQ applies one policy to a queue. So the policy of a queue is set only where no other one applies to it:
//! above the other one it would take that one's settings away, below it would do nothing. Pure.

use crate::{
    message::{Headers, Value},
    model::{
        ObservedPolicy, ObservedQueue, Policy, Queue, Topology,
        equivalence::{is_same, shown},
    },
    topology::plan::Risk,
    transport::DeclareError,
};

/// What is to be done about the policy of one queue.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Move<'a> {
    /// It is not there, or says something else.
    Set {
        queue: &'a Queue,
        policy: Policy,
        /// What is there under its name.
        was: Option<&'a ObservedPolicy>,
    },
    /// It is there, and the queue wants none.
    Delete {
        queue: &'a Queue,
        policy: &'a ObservedPolicy,
        /// Another one that carries its limits.
        by: Option<&'a ObservedPolicy>,
    },
    /// Others apply to the queue, and do not set what is declared.
    Blocked { queue: &'a Queue, policy: Policy, others: Vec<&'a ObservedPolicy> },
}

/// What is to be done about the policies of all queues that are shared, one each at most.
///
/// `applied` tells of a queue which policy the broker says applies, for a pattern that is not understood here.
pub(crate) fn moves<'a>(
    wanted: &'a Topology,
    there: &'a [ObservedPolicy],
    applied: impl Fn(&str) -> Option<&'a ObservedQueue>,
) -> Vec<Move<'a>> {
    let queues = wanted.queues().filter(|queue| !queue.exclusive);
    queues.filter_map(|queue| of_queue(queue, there, applied(queue.name.as_str()))).collect()
}

fn of_queue<'a>(
    queue: &'a Queue,
    there: &'a [ObservedPolicy],
    found: Option<&ObservedQueue>,
) -> Option<Move<'a>> {
    let name = Policy::name_for(&queue.name);
    let own = there.iter().find(|it| it.name == name);
    let Some(policy) = queue.policy() else {
        // Only what es-bus made, and nothing that is only called so.
        let own = own.filter(|own| own.pattern == Policy::pattern_for(&queue.name));
        return own.map(|policy| Move::Delete { queue, policy, by: None });
    };
    let applied = found.and_then(|found| found.policy.as_deref());
    let mut others: Vec<&ObservedPolicy> = there
        .iter()
        .filter(|it| it.name != name)
        .filter(|it| it.applies_to(queue).unwrap_or_else(|| applied == Some(&it.name)))
        .collect();
    others.sort_by_key(|it| (std::cmp::Reverse(it.priority), &it.name));
    let carrier = match others[..] {
        [first, second, ..] if first.priority == second.priority => None,
        [first, ..] => policy.is_within(first).then_some(first),
        [] => {
            let is_there = own.is_some_and(|own| policy.is_there(own));
            return (!is_there).then_some(Move::Set { queue, policy, was: own });
        }
    };
    match (carrier, own) {
        (Some(by), Some(policy)) => Some(Move::Delete { queue, policy, by: Some(by) }),
        (Some(_), None) => None,
        (None, _) => Some(Move::Blocked { queue, policy, others }),
    }
}

/// What other policies in the way are, and what to do about them.
pub(crate) fn in_the_way(policy: &Policy, others: &[impl std::borrow::Borrow<ObservedPolicy>]) -> String {
    let told: Vec<String> = others.iter().map(|it| it.borrow().told()).collect();
    let (apply, that) = match &told[..] {
        [_] => ("policy {} applies", "that one"),
        _ => ("policies {} apply", "those"),
    };
    format!(
        "{} to queue {:?} as well, and RabbitMQ applies one policy to a queue: narrow the pattern of {that}, add {} to \
         the one of the highest priority, or let arguments carry the limits (`limits_in = \"arguments\"`)",
        apply.replace("{}", &told.join(", ")),
        policy.queue().as_str(),
        table(&policy.definition),
    )
}

/// The same as what a broker says against a declaration.
pub(crate) fn refusal(policy: &Policy, others: &[impl std::borrow::Borrow<ObservedPolicy>]) -> DeclareError {
    DeclareError::Refused {
        what: "policy",
        name: policy.name().to_owned(),
        reason: in_the_way(policy, others),
    }
}

/// How much can go wrong when the limits of a queue change, and what it does.
pub(crate) fn risk(
    queue: &Queue,
    found: Option<&ObservedQueue>,
    was: &Headers,
    is: &Headers,
) -> (Risk, String) {
    if found.is_none() {
        return (Risk::None, "the queue is not there yet".to_owned());
    }
    // Until a migration is through arguments may say the same.
    let arguments = found.and_then(|found| found.settings.as_ref()).map(|it| &it.arguments);
    let argument = |key: &str| arguments.and_then(|it| it.get_int(&format!("x-{key}")));
    let lowered = |key| {
        let was = was.get_int(key).into_iter().chain(argument(key)).min();
        is.get_int(key).filter(|is| was.is_none_or(|was| *is < was))
    };
    let drops = is.get_str("overflow").or(queue.overflow.map(|it| it.as_str())) != Some("reject-publish");
    let gone = match queue.dead_letter {
        Some(_) => "dead-lettered",
        None => "lost",
    };
    let mut told = Vec::new();
    let mut risk = Risk::Low;
    if lowered("max-length").is_some() || lowered("max-length-bytes").is_some() {
        let ready = found.and_then(|found| found.ready);
        let most = lowered("max-length").and_then(|it| u64::try_from(it).ok());
        match (drops, ready, most) {
            (true, Some(ready), Some(most)) if ready <= most && lowered("max-length-bytes").is_none() => {
                told.push(format!("{ready} of {most} messages are there: nothing is dropped for it now"));
            }
            (true, ..) => {
                risk = Risk::High;
                told.push(format!("what is in the queue beyond it, the oldest first, is {gone} at once"));
            }
            (false, ..) => {
                told.push("what is in the queue stays; publishers are refused while it is full".to_owned());
            }
        }
    }
    if drops && changed("overflow", was, is) && was.get_str("overflow") == Some("reject-publish") {
        risk = Risk::High;
        told.push(format!(
            "from then on the oldest messages of a full queue are {gone}, and publishers not refused"
        ));
    }
    if lowered("message-ttl").is_some() {
        if queue.dead_letter.is_none() {
            risk = Risk::High;
        }
        told.push(format!(
            "what comes from then on, and may be what is there, is {gone} when it gets as old"
        ));
    }
    if lowered("expires").is_some() {
        risk = Risk::High;
        told.push("a queue that has no consumer for as long is deleted, with what is in it".to_owned());
    }
    if told.is_empty() {
        return (Risk::None, "it holds from then on; the queue and what is in it stay".to_owned());
    }
    (risk, told.join("; "))
}

fn changed(key: &str, was: &Headers, is: &Headers) -> bool {
    match (was.get(key), is.get(key)) {
        (Some(was), Some(is)) => !is_same(was, is),
        (None, None) => false,
        _ => true,
    }
}

/// What a definition becomes, key by key.
pub(crate) fn difference(was: &Headers, is: &Headers) -> String {
    let mut keys: Vec<&str> = was.iter().chain(is.iter()).map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    let value = |value: Option<&Value>| value.map_or_else(|| "not set".to_owned(), shown);
    let told = keys.into_iter().map(|key| match changed(key, was, is) {
        true => format!("{key} = {} -> {}", value(was.get(key)), value(is.get(key))),
        false => format!("{key} = {}", value(is.get(key))),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// A definition as people write it.
pub(crate) fn table(definition: &Headers) -> String {
    let told = definition.iter().map(|(key, value)| format!("{key} = {}", shown(value)));
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        model::{DeadLetter, DeadLetterStrategy, Overflow, QueueKind, policy::LimitsIn},
        name::{ExchangeName, QueueName},
    };

    fn queue(change: impl FnOnce(&mut Queue)) -> Queue {
        let name = QueueName::new("events.audit").unwrap();
        let mut queue = Queue {
            max_length: Some(10),
            limits_in: LimitsIn::Policies,
            ..Queue::durable(name, QueueKind::Classic)
        };
        change(&mut queue);
        queue
    }

    fn topology(queue: Queue) -> Topology {
        let mut topology = Topology::new();
        topology.add_queue(queue).unwrap();
        topology
    }

    fn there(name: &str, pattern: &str, priority: i64, max_length: i64) -> ObservedPolicy {
        ObservedPolicy {
            name: name.to_owned(),
            pattern: pattern.to_owned(),
            apply_to: "queues".to_owned(),
            definition: [("max-length", max_length)].into_iter().collect(),
            priority,
        }
    }

    fn own(max_length: i64) -> ObservedPolicy {
        there("es-bus.events.audit", r"^events\.audit$", 0, max_length)
    }

    fn told(queue: &Queue, there: &[ObservedPolicy], applied: Option<&str>) -> String {
        let found = ObservedQueue { policy: applied.map(str::to_owned), ..ObservedQueue::default() };
        let topology = topology(queue.clone());
        let moves: Vec<String> = moves(&topology, there, |_| Some(&found))
            .iter()
            .map(|it| match it {
                Move::Set { policy, was, .. } => {
                    let none = Headers::new();
                    let was = was.map_or(&none, |it| &it.definition);
                    format!("set {}", difference(was, &policy.definition))
                }
                Move::Delete { by, .. } => format!("delete, by {:?}", by.map(|it| &*it.name)),
                Move::Blocked { others, .. } => {
                    format!("blocked by {:?}", others.iter().map(|it| &*it.name).collect::<Vec<_>>())
                }
            })
            .collect();
        moves.join("; ")
    }

    #[test]
    fn the_policy_of_a_queue_is_set_changed_and_deleted() {
        let limited = queue(|_| ());
        let free = queue(|queue| queue.max_length = None);
        let by_arguments = queue(|queue| queue.limits_in = LimitsIn::Arguments);
        let elsewhere = ObservedPolicy { pattern: "^events".to_owned(), ..own(10) };
        let moved = ObservedPolicy { priority: 7, ..own(10) };

        assert_eq!(told(&limited, &[], None), "set max-length = not set -> 10");
        assert_eq!(told(&limited, &[own(9)], None), "set max-length = 9 -> 10");
        assert_eq!(told(&limited, &[own(10)], None), "");
        assert_eq!(told(&limited, &[moved], None), "set max-length = 10");
        assert_eq!(told(&free, &[own(10)], None), "delete, by None");
        assert_eq!(told(&by_arguments, &[own(10)], None), "delete, by None");
        assert_eq!(told(&free, &[], None), "");
        assert_eq!(told(&free, &[elsewhere], None), "", "only called so");
    }

    #[test]
    fn another_policy_is_in_the_way_whatever_its_priority_unless_it_sets_the_same() {
        let limited = queue(|_| ());
        let other = |priority, max_length| there("ops", "^events", priority, max_length);

        assert_eq!(told(&limited, &[other(-1, 5)], None), r#"blocked by ["ops"]"#);
        assert_eq!(told(&limited, &[other(1, 5), own(10)], None), r#"blocked by ["ops"]"#);
        assert_eq!(told(&limited, &[other(1, 10)], None), "", "it has the keys");
        assert_eq!(told(&limited, &[other(1, 10), own(10)], None), r#"delete, by Some("ops")"#);
        assert_eq!(told(&limited, &[there("ops", "^stock", 1, 5)], None), "set max-length = not set -> 10");
        // Of two that have as much to say nobody knows which one applies.
        let beside = there("beside", ".*", 1, 10);
        assert_eq!(told(&limited, &[other(1, 10), beside], None), r#"blocked by ["beside", "ops"]"#);
        let below = there("below", ".*", 0, 5);
        assert_eq!(told(&limited, &[other(1, 10), below], None), "");
    }

    #[test]
    fn of_a_pattern_that_only_the_broker_understands_its_word_counts() {
        let limited = queue(|_| ());
        let other = there("ops", "^(?!amq)", 0, 5);

        assert_eq!(told(&limited, std::slice::from_ref(&other), Some("ops")), r#"blocked by ["ops"]"#);
        assert_eq!(told(&limited, &[other], None), "set max-length = not set -> 10");
    }

    #[test]
    fn what_is_in_the_way_is_named_with_what_to_do() {
        let policy = queue(|_| ()).policy().unwrap();

        assert_eq!(
            refusal(&policy, &[there("ops", "^events", 3, 5)]).to_string(),
            "policy \"es-bus.events.audit\" cannot be set: policy \"ops\" (pattern \"^events\", priority 3) \
             applies to queue \"events.audit\" as well, and RabbitMQ applies one policy to a queue: narrow the pattern of \
             that one, add max-length = 10 to the one of the highest priority, or let arguments carry the limits \
             (`limits_in = \"arguments\"`)"
        );
    }

    #[test]
    fn the_risk_is_what_happens_to_messages() {
        let letters = |queue: &mut Queue| {
            queue.dead_letter = Some(DeadLetter {
                exchange: ExchangeName::new("events_dlq").unwrap(),
                routing_key: None,
                strategy: DeadLetterStrategy::AtMostOnce,
            });
        };
        let limits = |change: &dyn Fn(&mut Queue)| {
            let queue = queue(change);
            let definition = queue.policy().map(|it| it.definition).unwrap_or_default();
            (queue, definition)
        };
        let (_, ten) = limits(&|_| ());
        let (_, refusing) = limits(&|queue| queue.overflow = Some(Overflow::RejectPublish));
        let mut report = String::new();
        for (case, (queue, is), was) in [
            ("raised", limits(&|queue| queue.max_length = Some(20)), &ten),
            ("lowered", limits(&|queue| queue.max_length = Some(5)), &ten),
            ("lowered above what is there", limits(&|queue| queue.max_length = Some(8)), &ten),
            (
                "lowered, refusing",
                limits(&|queue| {
                    queue.max_length = Some(5);
                    queue.overflow = Some(Overflow::RejectPublish);
                }),
                &refusing,
            ),
            ("no longer refusing", limits(&|queue| queue.overflow = Some(Overflow::DropHead)), &refusing),
            ("a ttl", limits(&|queue| queue.message_ttl = Some(Duration::from_secs(1))), &ten),
            (
                "a ttl, with dead letters",
                limits(&|queue| {
                    queue.message_ttl = Some(Duration::from_secs(1));
                    letters(queue);
                }),
                &ten,
            ),
            ("expires", limits(&|queue| queue.expires = Some(Duration::from_secs(1))), &ten),
        ] {
            let found = ObservedQueue { ready: Some(7), ..ObservedQueue::default() };
            let (risk, effect) = risk(&queue, Some(&found), was, &is);
            report += &format!("{case}: {}, {effect}\n", risk.as_str());
        }
        insta::assert_snapshot!(report);
        let none = Headers::new();
        assert_eq!(risk(&queue(|_| ()), None, &none, &ten).0, Risk::None);
    }
}
