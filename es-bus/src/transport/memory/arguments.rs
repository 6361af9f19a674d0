//! What the arguments of a declaration mean, which the broker refuses, and where two declarations
//! of one name differ.
//!
//! Everything is read from the AMQP table, so that a setting counts the same whether a field of
//! [`Queue`] or a raw argument says it.

use std::time::Duration;

use crate::{
    message::{Headers, Value},
    model::{Exchange, Queue, QueueKind, equivalence},
};

/// What a queue does, as its arguments say.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) dead_letter_exchange: Option<String>,
    pub(super) dead_letter_routing_key: Option<String>,
    pub(super) at_least_once: bool,
    pub(super) message_ttl: Option<Duration>,
    pub(super) expires: Option<Duration>,
    pub(super) max_length: Option<u64>,
    pub(super) max_length_bytes: Option<u64>,
    pub(super) max_age: Option<Duration>,
    pub(super) overflow: OverflowMode,
    pub(super) delivery_limit: Option<u64>,
    pub(super) single_active_consumer: bool,
    pub(super) max_priority: Option<u8>,
    pub(super) quorum: bool,
    pub(super) stream: bool,
}

/// What happens to a message that a full queue has no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum OverflowMode {
    #[default]
    DropHead,
    RejectPublish,
    RejectPublishDlx,
}

/// A setting that two declarations of one name do not agree on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) field: &'static str,
    pub(super) wanted: Option<String>,
    pub(super) found: Option<String>,
}

impl Difference {
    /// RabbitMQ's sentence for it.
    pub(super) fn reason(&self, what: &str, name: &str) -> String {
        format!(
            "PRECONDITION_FAILED - inequivalent arg '{}' for {what} '{name}': received {} but current is {}",
            self.field,
            quoted(self.wanted.as_deref()),
            quoted(self.found.as_deref()),
        )
    }
}

fn quoted(value: Option<&str>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| format!("'{value}'"))
}

impl Settings {
    /// Reads the settings of a queue, or says why RabbitMQ would not create it (406).
    pub(super) fn of(queue: &Queue) -> Result<Self, String> {
        let table = queue.argument_table();
        let quorum = queue.kind == QueueKind::Quorum;
        let own = equivalence::compared(queue.kind.as_str());
        for name in equivalence::known() {
            if table.get(name).is_some() && !own.contains(&name) {
                return Err(refused(name, &format!("not supported by {} queues", queue.kind.as_str())));
            }
        }
        if queue.kind != QueueKind::Classic {
            for (is_set, property) in [
                (!queue.durable, "non-durable"),
                (queue.exclusive, "exclusive-owner"),
                (queue.auto_delete, "auto-delete"),
            ] {
                if is_set {
                    return Err(format!(
                        "PRECONDITION_FAILED - invalid property '{property}' for queue '{}'",
                        queue.name
                    ));
                }
            }
        }
        let overflow = match text(&table, "x-overflow")?.as_deref() {
            None | Some("drop-head") => OverflowMode::DropHead,
            Some("reject-publish") => OverflowMode::RejectPublish,
            // A quorum queue logs a warning and goes on with its default.
            Some("reject-publish-dlx") if quorum => OverflowMode::DropHead,
            Some("reject-publish-dlx") => OverflowMode::RejectPublishDlx,
            Some(other) => return Err(refused("x-overflow", &format!("unknown mode '{other}'"))),
        };
        let strategy = text(&table, "x-dead-letter-strategy")?;
        let dead_letter_exchange = text(&table, "x-dead-letter-exchange")?;
        let dead_letter_routing_key = text(&table, "x-dead-letter-routing-key")?;
        if dead_letter_routing_key.is_some() && dead_letter_exchange.is_none() {
            return Err(refused("x-dead-letter-routing-key", "there is no x-dead-letter-exchange"));
        }
        let expires = number(&table, "x-expires")?;
        let message_ttl = number(&table, "x-message-ttl")?;
        for (name, ms) in [("x-message-ttl", message_ttl), ("x-expires", expires)] {
            if ms.is_some_and(|ms| ms > MAX_EXPIRY_MS) {
                return Err(refused(name, "is too large"));
            }
        }
        if expires == Some(0) {
            return Err(refused("x-expires", "has to be greater than 0"));
        }
        Ok(Self {
            // Accepted without reject-publish, but then it does not hold (reliability.md 11).
            at_least_once: quorum
                && strategy.as_deref() == Some("at-least-once")
                && overflow == OverflowMode::RejectPublish,
            dead_letter_exchange,
            dead_letter_routing_key,
            message_ttl: message_ttl.map(Duration::from_millis),
            expires: expires.map(Duration::from_millis),
            max_length: number(&table, "x-max-length")?,
            max_length_bytes: number(&table, "x-max-length-bytes")?,
            max_age: age(&table)?,
            stream: queue.kind == QueueKind::Stream,
            overflow,
            delivery_limit: number(&table, "x-delivery-limit")?,
            max_priority: match number(&table, "x-max-priority")? {
                Some(most) => Some(
                    u8::try_from(most).map_err(|_large| refused("x-max-priority", "is greater than 255"))?,
                ),
                None => None,
            },
            single_active_consumer: table.get("x-single-active-consumer") == Some(&Value::Bool(true)),
            quorum,
        })
    }
}

impl Settings {
    /// With what a policy sets: of two limits the lower counts, and of two ways to overflow that of the policy, but in
    /// a classic queue that of the arguments (RabbitMQ 3.10).
    pub(super) fn with(mut self, declared: &Queue, policy: Option<&Headers>) -> Self {
        let Some(policy) = policy else { return self };
        let number = |name: &str| policy.get_int(name).and_then(|it| u64::try_from(it).ok());
        let lower = |own: Option<u64>, name: &str| own.into_iter().chain(number(name)).min();
        self.max_length = lower(self.max_length, "max-length");
        self.max_length_bytes = lower(self.max_length_bytes, "max-length-bytes");
        let ms = |own: Option<Duration>, name: &str| {
            own.into_iter().chain(number(name).map(Duration::from_millis)).min()
        };
        self.message_ttl = ms(self.message_ttl, "message-ttl");
        self.expires = ms(self.expires, "expires");
        let is_open = self.quorum || declared.argument_table().get("x-overflow").is_none();
        match policy.get_str("overflow").filter(|_| is_open) {
            Some("reject-publish") => self.overflow = OverflowMode::RejectPublish,
            Some("drop-head") => self.overflow = OverflowMode::DropHead,
            _ => {}
        }
        self
    }
}

/// The first setting on which two declarations of a queue differ, in RabbitMQ's order.
pub(super) fn queue_difference(wanted: &Queue, there: &Queue) -> Option<Difference> {
    flag("durable", wanted.durable, there.durable)
        .or_else(|| flag("auto_delete", wanted.auto_delete, there.auto_delete))
        .or_else(|| flag("exclusive", wanted.exclusive, there.exclusive))
        .or_else(|| {
            let (wanted, found) = (wanted.argument_table(), there.argument_table());
            let kind = there.kind.as_str();
            equivalence::compared(kind).iter().find_map(|name| argument(name, &wanted, &found))
        })
}

/// The first setting on which two declarations of an exchange differ.
pub(super) fn exchange_difference(wanted: &Exchange, found: &Exchange) -> Option<Difference> {
    (wanted.kind != found.kind)
        .then(|| Difference {
            field: "type",
            wanted: Some(wanted.kind.as_str().to_owned()),
            found: Some(found.kind.as_str().to_owned()),
        })
        .or_else(|| flag("durable", wanted.durable, found.durable))
        .or_else(|| flag("auto_delete", wanted.auto_delete, found.auto_delete))
        .or_else(|| flag("internal", wanted.internal, found.internal))
        .or_else(|| argument("alternate-exchange", &wanted.arguments, &found.arguments))
}

fn flag(field: &'static str, wanted: bool, found: bool) -> Option<Difference> {
    (wanted != found).then(|| Difference {
        field,
        wanted: Some(wanted.to_string()),
        found: Some(found.to_string()),
    })
}

fn argument(name: &'static str, wanted: &Headers, found: &Headers) -> Option<Difference> {
    let (wanted, found) = (wanted.get(name), found.get(name));
    let same = match (wanted, found) {
        (None, None) => true,
        // Integers are compared by value, whatever their width.
        (Some(a), Some(b)) => a == b || (a.is_integer() && b.is_integer() && a.as_int() == b.as_int()),
        _ => false,
    };
    (!same).then(|| Difference { field: name, wanted: wanted.map(shown), found: found.map(shown) })
}

fn shown(value: &Value) -> String {
    match (value, value.as_int(), value.as_str()) {
        (Value::Bool(value), ..) => value.to_string(),
        (_, Some(number), _) => number.to_string(),
        (_, _, Some(text)) => text.to_owned(),
        _ => format!("{value:?}"),
    }
}

fn text(table: &Headers, name: &str) -> Result<Option<String>, String> {
    match table.get(name) {
        None => Ok(None),
        Some(value @ Value::Str(_)) => {
            let text = value.as_str().ok_or_else(|| refused(name, "no UTF-8"))?;
            Ok(Some(text.to_owned()))
        }
        Some(_) => Err(refused(name, "has to be a string")),
    }
}

fn number(table: &Headers, name: &str) -> Result<Option<u64>, String> {
    match table.get(name) {
        None => Ok(None),
        Some(value) if value.is_integer() => value
            .as_int()
            .and_then(|number| u64::try_from(number).ok())
            .map(Some)
            .ok_or_else(|| refused(name, "must not be negative")),
        Some(_) => Err(refused(name, "has to be an integer")),
    }
}

/// A number and its unit, as streams have it.
fn age(table: &Headers) -> Result<Option<Duration>, String> {
    let Some(text) = text(table, "x-max-age")? else { return Ok(None) };
    let invalid = || refused("x-max-age", "invalid_max_age");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(invalid)?;
    let seconds = match unit {
        "Y" => 365 * 24 * 60 * 60,
        "M" => 30 * 24 * 60 * 60,
        "D" => 24 * 60 * 60,
        "h" => 60 * 60,
        "m" => 60,
        "s" => 1,
        _ => return Err(invalid()),
    };
    let number: u64 = number.parse().map_err(|_no_number| invalid())?;
    Ok(Some(Duration::from_secs(number.saturating_mul(seconds))))
}

fn refused(name: &str, why: &str) -> String {
    format!("PRECONDITION_FAILED - invalid arg '{name}': {why}")
}

/// The longest time that RabbitMQ takes as a TTL, in milliseconds: ten years.
pub(super) const MAX_EXPIRY_MS: u64 = 10 * 365 * 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::ExchangeKind,
        name::{ExchangeName, QueueName},
    };

    fn queue(kind: QueueKind) -> Queue {
        Queue::durable(QueueName::new("orders").unwrap(), kind)
    }

    fn with(kind: QueueKind, name: &'static str, value: impl Into<Value>) -> Queue {
        let mut queue = queue(kind);
        queue.arguments.insert(name, value);
        queue
    }

    #[test]
    fn of_two_limits_the_lower_counts_and_of_two_ways_to_overflow_that_of_a_quorum_queues_policy() {
        let policy: Headers = [("max-length", 5_i64), ("message-ttl", 2000), ("max-length-bytes", 9)]
            .into_iter()
            .map(|(name, value)| (name, Value::I64(value)))
            .chain([("overflow", Value::from("drop-head"))])
            .collect();
        for (kind, overflow) in
            [(QueueKind::Classic, OverflowMode::RejectPublish), (QueueKind::Quorum, OverflowMode::DropHead)]
        {
            let declared = Queue {
                max_length: Some(3),
                message_ttl: Some(Duration::from_secs(9)),
                overflow: Some(crate::model::Overflow::RejectPublish),
                ..queue(kind)
            };

            let settings = Settings::of(&declared).unwrap().with(&declared, Some(&policy));

            assert_eq!((settings.max_length, settings.max_length_bytes), (Some(3), Some(9)));
            assert_eq!(settings.message_ttl, Some(Duration::from_secs(2)));
            assert_eq!(settings.overflow, overflow, "{kind:?}");
        }
    }

    #[test]
    fn refuses_what_the_kind_of_queue_does_not_know() {
        for queue in [
            with(QueueKind::Classic, "x-dead-letter-strategy", "at-least-once"),
            with(QueueKind::Classic, "x-delivery-limit", 3_i64),
            with(QueueKind::Quorum, "x-max-priority", 3_i64),
            with(QueueKind::Quorum, "x-queue-mode", "lazy"),
            with(QueueKind::Classic, "x-expires", 0_i64),
            with(QueueKind::Classic, "x-message-ttl", -1_i64),
            with(QueueKind::Classic, "x-message-ttl", "1000"),
            with(QueueKind::Classic, "x-message-ttl", Value::I64(i64::MAX)),
            with(QueueKind::Classic, "x-overflow", "drop-tail"),
            with(QueueKind::Classic, "x-dead-letter-routing-key", "order"),
            with(QueueKind::Stream, "x-message-ttl", 1000_i64),
            with(QueueKind::Stream, "x-dead-letter-exchange", "dlx"),
            with(QueueKind::Stream, "x-max-length", 5_i64),
            with(QueueKind::Stream, "x-single-active-consumer", true),
            with(QueueKind::Stream, "x-max-age", "5x"),
            Queue { auto_delete: true, ..queue(QueueKind::Stream) },
            Queue { exclusive: true, ..queue(QueueKind::Quorum) },
            Queue { durable: false, ..queue(QueueKind::Quorum) },
            Queue { auto_delete: true, ..queue(QueueKind::Quorum) },
        ] {
            assert!(Settings::of(&queue).is_err(), "{queue:?}");
        }
    }

    #[test]
    fn names_the_setting_that_differs() {
        let plain = queue(QueueKind::Classic);
        let timed = Queue { message_ttl: Some(Duration::from_secs(1)), ..plain.clone() };

        assert_eq!(queue_difference(&plain, &plain), None);
        assert_eq!(
            queue_difference(&timed, &plain),
            Some(Difference { field: "x-message-ttl", wanted: Some("1000".into()), found: None })
        );
        assert_eq!(
            queue_difference(&queue(QueueKind::Quorum), &plain).map(|difference| difference.field),
            Some("x-queue-type")
        );
        let raw = with(QueueKind::Classic, "x-message-ttl", Value::I64(1000));
        assert_eq!(queue_difference(&raw, &with(QueueKind::Classic, "x-message-ttl", 1000_i64)), None);
        assert_eq!(queue_difference(&with(QueueKind::Classic, "x-foo", 1_i64), &plain), None);
    }

    #[test]
    fn compares_exchanges_by_kind_and_flags() {
        let topic = Exchange::durable(ExchangeName::new("events").unwrap(), ExchangeKind::Topic);
        let direct = Exchange { kind: ExchangeKind::Direct, ..topic.clone() };
        let internal = Exchange { internal: true, ..topic.clone() };

        assert_eq!(exchange_difference(&topic, &topic), None);
        assert_eq!(exchange_difference(&direct, &topic).unwrap().field, "type");
        assert_eq!(exchange_difference(&internal, &topic).unwrap().field, "internal");
    }
}
