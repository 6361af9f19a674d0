//! Whether a declaration would be taken for the same as what is there, as RabbitMQ decides it.
//!
//! Which arguments are compared hangs on the kind of the queue that is there: others are ignored, as
//! is every argument that RabbitMQ does not know. Integers are compared by value, whatever their width.
//! What a policy sets is no part of a declaration, and not looked at. Pure.

use serde::Serialize;

use super::{Exchange, ExchangeKind, ExchangeSettings, HASH_HEADER, HASH_PROPERTY, Queue, QueueSettings};
use crate::message::{Headers, Value};

/// A setting in which a declaration differs from what is there; by itself it would be refused (406).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The setting, by the broker's name: `durable`, `x-message-ttl`.
    pub field: String,
    /// What is declared; `None` for nothing.
    pub wanted: Option<String>,
    /// What is there; `None` for nothing.
    pub found: Option<String>,
}

/// The settings in which a queue differs from the one on the broker.
///
/// RabbitMQ 3 tells a queue that was declared without `x-queue-type` from a classic one; RabbitMQ 4 does not.
/// `major` is its version; where that is unknown they are told apart, which is the careful way.
pub(crate) fn of_queue(wanted: &Queue, found: &QueueSettings, major: Option<u32>) -> Vec<Difference> {
    let mut differences = Vec::new();
    differences.extend(flag("durable", wanted.durable, found.durable));
    differences.extend(flag("auto_delete", wanted.auto_delete, found.auto_delete));
    differences.extend(flag("exclusive", wanted.exclusive, found.exclusive));
    let (mut ours, mut theirs) = (wanted.argument_table(), found.arguments.clone());
    if major.is_some_and(|major| major >= 4) {
        for table in [&mut ours, &mut theirs] {
            if table.get(TYPE).is_none() {
                table.insert(TYPE, "classic");
            }
        }
    }
    differences.extend(compared(&found.kind).iter().filter_map(|name| argument(name, &ours, &theirs)));
    differences
}

/// The arguments that count for a kind of queue, in the order in which RabbitMQ compares them; it refuses those of other
/// kinds, and ignores what is in no list.
pub(crate) fn compared(kind: &str) -> &'static [&'static str] {
    match kind {
        "quorum" => QUORUM,
        "stream" => STREAM,
        _ => CLASSIC,
    }
}

/// The arguments that count for any kind of queue, those of several kinds as often.
pub(crate) fn known() -> impl Iterator<Item = &'static str> {
    [CLASSIC, QUORUM, STREAM].into_iter().flatten().copied()
}

/// The settings in which an exchange differs from the one on the broker.
pub(crate) fn of_exchange(wanted: &Exchange, found: &ExchangeSettings) -> Vec<Difference> {
    let kind = (wanted.kind.as_str() != found.kind).then(|| Difference {
        field: "type".to_owned(),
        wanted: Some(wanted.kind.as_str().to_owned()),
        found: Some(found.kind.clone()),
    });
    let is_hashed = wanted.kind == ExchangeKind::ConsistentHash;
    [
        kind,
        flag("durable", wanted.durable, found.durable),
        flag("auto_delete", wanted.auto_delete, found.auto_delete),
        flag("internal", wanted.internal, found.internal),
        argument("alternate-exchange", &wanted.arguments, &found.arguments),
        // RabbitMQ takes any for the same, and goes on with what it has: an order that is no order any more.
        is_hashed.then(|| argument(HASH_HEADER, &wanted.arguments, &found.arguments)).flatten(),
        is_hashed.then(|| argument(HASH_PROPERTY, &wanted.arguments, &found.arguments)).flatten(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether two tables say the same, integers by value.
pub(crate) fn is_same_table(a: &Headers, b: &Headers) -> bool {
    a.len() == b.len() && a.iter().zip(b.iter()).all(|((x, v), (y, w))| x == y && is_same(v, w))
}

/// Whether two values are the same for a broker.
pub(crate) fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Table(a), Value::Table(b)) => is_same_table(a, b),
        (Value::F32(a), Value::F64(b)) | (Value::F64(b), Value::F32(a)) => f64::from(*a) == *b,
        (a, b) => a == b || (a.is_integer() && b.is_integer() && a.as_int() == b.as_int()),
    }
}

/// A value as people write it.
pub(crate) fn shown(value: &Value) -> String {
    match (value, value.as_int(), value.as_str()) {
        (Value::Bool(value), ..) => value.to_string(),
        (Value::F32(value), ..) => value.to_string(),
        (Value::F64(value), ..) => value.to_string(),
        (Value::Str(_), _, Some(text)) => text.to_owned(),
        (_, Some(number), _) => number.to_string(),
        _ => format!("{value:?}"),
    }
}

fn flag(field: &str, wanted: bool, found: bool) -> Option<Difference> {
    (wanted != found).then(|| Difference {
        field: field.to_owned(),
        wanted: Some(wanted.to_string()),
        found: Some(found.to_string()),
    })
}

fn argument(name: &str, wanted: &Headers, found: &Headers) -> Option<Difference> {
    let (wanted, found) = (wanted.get(name), found.get(name));
    let same = match (wanted, found) {
        (None, None) => true,
        (Some(wanted), Some(found)) => is_same(wanted, found),
        _ => false,
    };
    (!same).then(|| Difference {
        field: name.to_owned(),
        wanted: wanted.map(|value| told(value, found)),
        found: found.map(|value| told(value, wanted)),
    })
}

/// A value beside another one: `1000` and `"1000"` are not the same, and have to look so.
fn told(value: &Value, beside: Option<&Value>) -> String {
    let text = shown(value);
    let looks_same = beside.is_some_and(|other| shown(other) == text);
    if looks_same && matches!(value, Value::Str(_)) { format!("{text:?} (a text)") } else { text }
}

const TYPE: &str = "x-queue-type";

// What RabbitMQ 3.10 compares, by `rabbit_queue_type:capabilities`; later versions added kinds of
// leader locators and stream filters, which es-bus does not set.
const CLASSIC: &[&str] = &[
    TYPE,
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-master-locator",
];
const QUORUM: &[&str] = &[
    TYPE,
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
];
const STREAM: &[&str] = &[
    TYPE,
    "x-max-length-bytes",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-initial-cluster-size",
    "x-queue-leader-locator",
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        model::QueueKind,
        name::{ExchangeName, QueueName},
    };

    fn queue(kind: QueueKind) -> Queue {
        Queue::durable(QueueName::new("orders").unwrap(), kind)
    }

    fn found(kind: &str, arguments: Headers) -> QueueSettings {
        QueueSettings {
            kind: kind.to_owned(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments,
        }
    }

    fn table(values: &[(&'static str, Value)]) -> Headers {
        values.iter().cloned().collect()
    }

    #[test]
    fn queues_are_compared_as_rabbitmq_compares_them() {
        let typed = |kind: &str, more: &[(&'static str, Value)]| {
            let mut table = table(more);
            table.insert("x-queue-type", kind);
            found(kind, table)
        };
        let timed = |kind| Queue { message_ttl: Some(Duration::from_secs(1)), ..queue(kind) };
        let untyped = Queue { untyped: true, ..queue(QueueKind::Classic) };
        let (classic, quorum) = (QueueKind::Classic, QueueKind::Quorum);
        for (case, wanted, found, major, expected) in [
            ("the same", queue(quorum), typed("quorum", &[]), 3, ""),
            ("widths", timed(classic), typed("classic", &[("x-message-ttl", Value::I32(1000))]), 3, ""),
            (
                "a text for a number",
                timed(classic),
                typed("classic", &[("x-message-ttl", Value::from("1000"))]),
                3,
                "x-message-ttl 1000 \"1000\" (a text)",
            ),
            ("absent", timed(quorum), typed("quorum", &[]), 3, "x-message-ttl 1000 -"),
            (
                "a default that is said",
                queue(quorum),
                typed("quorum", &[("x-overflow", Value::from("drop-head"))]),
                3,
                "x-overflow - drop-head",
            ),
            ("unknown ones", queue(quorum), typed("quorum", &[("x-team", Value::from("a"))]), 3, ""),
            (
                "what the kind does not know",
                queue(quorum),
                typed("quorum", &[("x-max-priority", Value::I8(3))]),
                3,
                "",
            ),
            ("another kind", queue(quorum), typed("classic", &[]), 3, "x-queue-type quorum classic"),
            ("no type on 3", queue(classic), found("classic", Headers::new()), 3, "x-queue-type classic -"),
            ("no type on 4", queue(classic), found("classic", Headers::new()), 4, ""),
            ("untyped on 3", untyped.clone(), typed("classic", &[]), 3, "x-queue-type - classic"),
            ("untyped on 3, both", untyped.clone(), found("classic", Headers::new()), 3, ""),
            ("untyped on 4", untyped, typed("classic", &[]), 4, ""),
            (
                "no type on 4, quorum",
                queue(quorum),
                found("classic", Headers::new()),
                4,
                "x-queue-type quorum classic",
            ),
        ] {
            let differences = of_queue(&wanted, &found, Some(major));
            let told: Vec<String> = differences
                .iter()
                .map(|it| {
                    let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
                    format!("{} {} {}", it.field, or(&it.wanted), or(&it.found))
                })
                .collect();
            assert_eq!(told.join(", "), expected, "{case}");
        }
    }

    #[test]
    fn every_difference_is_told_not_only_the_first() {
        let wanted = Queue { max_length: Some(5), ..queue(QueueKind::Classic) };
        let mut there = found("classic", table(&[("x-queue-type", Value::from("classic"))]));
        (there.durable, there.auto_delete) = (false, true);

        let fields: Vec<String> = of_queue(&wanted, &there, None).into_iter().map(|it| it.field).collect();

        assert_eq!(fields, ["durable", "auto_delete", "x-max-length"]);
    }

    #[test]
    fn exchanges_are_compared_by_kind_flags_and_alternate() {
        let wanted = Exchange::durable(ExchangeName::new("events").unwrap(), ExchangeKind::Topic);
        let there = |kind: &str, arguments| ExchangeSettings {
            kind: kind.to_owned(),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments,
        };

        assert_eq!(of_exchange(&wanted, &there("topic", table(&[("x-foo", Value::Bool(true))]))), []);
        let alternate = table(&[("alternate-exchange", Value::from("rest"))]);
        let differences = of_exchange(&wanted, &there("x-consistent-hash", alternate));
        let fields: Vec<&str> = differences.iter().map(|it| &*it.field).collect();
        assert_eq!(fields, ["type", "alternate-exchange"]);
    }
}
