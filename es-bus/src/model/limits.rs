//! Policies: what carries the limits of a queue where they may change while it is used.
//!
//! A [`Queue`] says which policy it wants; here is how that one is named, which queues another one applies to, and
//! whether two say the same. RabbitMQ applies one policy to a queue, of those that match the one of the highest
//! priority. Pure.

use regex_lite::Regex;

use super::{
    ObservedPolicy, Queue, QueueKind,
    equivalence::{is_same, is_same_table},
};
use crate::{message::Headers, name::QueueName};

/// A policy of one queue: which of its limits may change while it is used.
///
/// [`Queue::policy`] makes it. Its name is that of the queue behind `es-bus.`, and it matches this queue alone.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Policy {
    name: String,
    queue: QueueName,
    /// What it sets, by the names that RabbitMQ has for it: `max-length`.
    pub definition: Headers,
}

impl Policy {
    /// To what it applies.
    pub const APPLY_TO: &'static str = "queues";
    /// Among others that match; there are none where everything is right.
    pub const PRIORITY: i64 = 0;

    pub(super) fn of(queue: QueueName, definition: Headers) -> Self {
        Self { name: Self::name_for(&queue), queue, definition }
    }

    /// What the policy of a queue is called.
    pub(crate) fn name_for(queue: &QueueName) -> String {
        format!("es-bus.{queue}")
    }

    /// What the pattern of the policy of a queue is.
    pub(crate) fn pattern_for(queue: &QueueName) -> String {
        format!("^{}$", super::permissions::escaped(queue.as_str()))
    }

    /// Its name, unique on a virtual host.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The queue that it is for.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        &self.queue
    }

    /// The regular expression that matches the name of its queue.
    #[must_use]
    pub fn pattern(&self) -> String {
        Self::pattern_for(&self.queue)
    }

    /// Whether one that is there is this one.
    pub(crate) fn is_there(&self, there: &ObservedPolicy) -> bool {
        there.name == self.name
            && there.pattern == self.pattern()
            && there.apply_to == Self::APPLY_TO
            && there.priority == Self::PRIORITY
            && is_same_table(&there.definition, &self.definition)
    }

    /// Whether another one sets all that this one would, to the same.
    pub(crate) fn is_within(&self, there: &ObservedPolicy) -> bool {
        let is_set = |(name, value)| there.definition.get(name).is_some_and(|it| is_same(it, value));
        self.definition.iter().all(is_set)
    }
}

impl ObservedPolicy {
    /// Whether it is one of those that may apply to a queue; `None` where its pattern says that in a way that only
    /// the broker understands.
    ///
    /// # RabbitMQ
    ///
    /// One with a key that the kind of the queue does not know applies to it with none of its keys (3.10).
    pub(crate) fn applies_to(&self, queue: &Queue) -> Option<bool> {
        let is_meant = match &*self.apply_to {
            "all" | "queues" => true,
            "quorum_queues" => queue.kind == QueueKind::Quorum,
            "classic_queues" => queue.kind == QueueKind::Classic,
            "streams" => queue.kind == QueueKind::Stream,
            _ => false,
        };
        let is_unknown = |key: &str| match queue.kind {
            QueueKind::Quorum => key.starts_with("ha-") || NOT_QUORUM.contains(&key),
            QueueKind::Classic => NOT_CLASSIC.contains(&key),
            QueueKind::Stream => key.starts_with("ha-") || NOT_STREAM.contains(&key),
        };
        if !is_meant || self.definition.iter().any(|(key, _)| is_unknown(key)) {
            return Some(false);
        }
        Regex::new(&self.pattern).ok().map(|pattern| pattern.is_match(queue.name.as_str()))
    }

    /// As people are told of it.
    pub(crate) fn told(&self) -> String {
        format!("{:?} (pattern {:?}, priority {})", self.name, self.pattern, self.priority)
    }
}

// What the kinds of queues say themselves that policies do not set (`capabilities`, RabbitMQ 3.10), without what
// later versions know.
const NOT_QUORUM: &[&str] =
    &["queue-mode", "queue-master-locator", "max-priority", "max-age", "stream-max-segment-size-bytes"];
const NOT_CLASSIC: &[&str] =
    &["delivery-limit", "dead-letter-strategy", "max-age", "stream-max-segment-size-bytes"];
const NOT_STREAM: &[&str] = &[
    "expires",
    "message-ttl",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "dead-letter-strategy",
    "max-length",
    "max-in-memory-length",
    "max-in-memory-bytes",
    "max-priority",
    "overflow",
    "queue-mode",
    "delivery-limit",
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        message::Value,
        model::{DeadLetter, DeadLetterStrategy, Overflow, policy::LimitsIn},
        name::ExchangeName,
    };

    fn queue(kind: QueueKind) -> Queue {
        let name = QueueName::new("orders.ledger+1").unwrap();
        Queue { limits_in: LimitsIn::Policies, ..Queue::durable(name, kind) }
    }

    fn limited(kind: QueueKind) -> Queue {
        Queue {
            max_length: Some(10),
            max_length_bytes: Some(1000),
            message_ttl: Some(Duration::from_secs(1)),
            expires: Some(Duration::from_secs(2)),
            overflow: Some(Overflow::RejectPublish),
            delivery_limit: (kind == QueueKind::Quorum).then_some(7),
            ..queue(kind)
        }
    }

    fn text(table: &Headers) -> String {
        let entry = |(name, value)| format!("{name} = {}", crate::model::equivalence::shown(value));
        table.iter().map(entry).collect::<Vec<_>>().join(", ")
    }

    fn there(pattern: &str, apply_to: &str, keys: &[(&'static str, Value)]) -> ObservedPolicy {
        ObservedPolicy {
            name: "ops".to_owned(),
            pattern: pattern.to_owned(),
            apply_to: apply_to.to_owned(),
            definition: keys.iter().cloned().collect(),
            priority: 3,
        }
    }

    #[test]
    fn a_policy_has_the_limits_and_the_arguments_have_the_rest() {
        for kind in [QueueKind::Classic, QueueKind::Quorum] {
            let queue = limited(kind);
            let policy = queue.policy().unwrap();

            assert_eq!(
                text(&policy.definition),
                "expires = 2000, max-length = 10, max-length-bytes = 1000, message-ttl = 1000, overflow = reject-publish"
            );
            assert_eq!(
                text(&queue.argument_table()),
                match kind {
                    QueueKind::Classic => "x-queue-type = classic",
                    QueueKind::Quorum => "x-delivery-limit = 7, x-queue-type = quorum",
                    QueueKind::Stream => unreachable!("its limits are arguments"),
                }
            );
            assert_eq!(policy.name(), "es-bus.orders.ledger+1");
            assert_eq!(policy.pattern(), r"^orders\.ledger\+1$");
        }
    }

    #[test]
    fn what_keeps_dead_letters_stays_an_argument() {
        let dead_letter = DeadLetter {
            exchange: ExchangeName::new("orders_dlq").unwrap(),
            routing_key: None,
            strategy: DeadLetterStrategy::AtLeastOnce,
        };
        let queue = Queue { dead_letter: Some(dead_letter), ..limited(QueueKind::Quorum) };

        assert_eq!(queue.argument_table().get_str("x-overflow"), Some("reject-publish"));
        assert_eq!(queue.policy().unwrap().definition.get("overflow"), None);
    }

    #[test]
    fn queues_of_a_connection_of_other_libraries_and_without_limits_have_none() {
        let limited = limited(QueueKind::Classic);
        for queue in [
            Queue { exclusive: true, ..limited.clone() },
            Queue { untyped: true, ..limited.clone() },
            Queue { limits_in: LimitsIn::Arguments, ..limited },
        ] {
            assert_eq!(queue.policy(), None);
            assert_eq!(queue.argument_table().get_int("x-max-length"), Some(10), "{queue:?}");
        }
        assert_eq!(queue(QueueKind::Quorum).policy(), None);
    }

    #[test]
    fn others_apply_by_pattern_by_kind_and_only_with_all_of_their_keys() {
        let max = [("max-length", Value::I64(1))];
        let (classic, quorum) = (queue(QueueKind::Classic), queue(QueueKind::Quorum));
        for (policy, of_classic, of_quorum) in [
            (there(".*", "all", &max), Some(true), Some(true)),
            (there("^orders", "queues", &max), Some(true), Some(true)),
            (there("^ledger", "queues", &max), Some(false), Some(false)),
            (there(".*", "exchanges", &max), Some(false), Some(false)),
            (there(".*", "quorum_queues", &max), Some(false), Some(true)),
            (there(".*", "classic_queues", &max), Some(true), Some(false)),
            (there(".*", "all", &[("ha-mode", Value::from("all"))]), Some(true), Some(false)),
            (there(".*", "all", &[("delivery-limit", Value::I64(3))]), Some(false), Some(true)),
            (there("^(?!amq).*", "all", &max), None, None),
        ] {
            assert_eq!(policy.applies_to(&classic), of_classic, "{policy:?}");
            assert_eq!(policy.applies_to(&quorum), of_quorum, "{policy:?}");
        }
    }

    #[test]
    fn another_one_may_set_the_same_and_more() {
        let policy = Queue { max_length: Some(10), ..queue(QueueKind::Classic) }.policy().unwrap();
        let more = [("max-length", Value::I32(10)), ("ha-mode", Value::from("all"))];

        assert!(policy.is_within(&there(".*", "all", &more)));
        assert!(!policy.is_within(&there(".*", "all", &[("max-length", Value::I64(9))])));
    }
}
