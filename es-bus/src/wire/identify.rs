//! What a delivery claims to be, and where it came from.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

use super::{
    ids::{missing_aggregate_id, wire_id},
    keys::KeySeed,
    names,
};
use crate::{
    message::{Headers, Received, Value},
    topic::MAX_KEY_LEN,
};

/// Where an event came from before retries, replays and dead-letter exchanges moved it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The exchange that it was first published to.
    pub exchange: String,
    /// The routing key that it was first published with.
    pub routing_key: String,
    /// The event type that it claims, when it claims one.
    pub event_type: Option<String>,
    /// Whether it was replayed from a dead-letter queue.
    pub replayed: bool,
}

/// Tells where a delivery from `queue`, the group's own, came from and what it claims to be.
///
/// The event type is the header `event_type`, else the property `type`, else the field of that name
/// in the body. What headers say of the original exchange and routing key is believed when this
/// queue's worker wrote them, or when the message came through the default exchange, where the
/// routing key is merely the name of the queue: a tool moved it here from the dead-letter queue.
#[must_use]
pub fn origin(received: &Received, queue: &str) -> Origin {
    let headers = &received.message.headers;
    let moved = received.exchange.is_empty() && received.routing_key == queue;
    let first = |header: &str, now: &str| {
        headers
            .get_str(header)
            .filter(|text| (is_marked(headers, queue) || moved) && text.len() <= MAX_KEY_LEN)
            .unwrap_or(now)
            .to_owned()
    };
    Origin {
        exchange: first(names::ES_ORIGINAL_EXCHANGE, &received.exchange),
        routing_key: first(names::ORIGINAL_ROUTING_KEY, &received.routing_key),
        event_type: event_type(received),
        replayed: headers.get(names::REPLAYED_FROM_DLQ).is_some(),
    }
}

/// Has what a worker of the queue `old` wrote on a message stand for the queue `new`: the same queue, under the name
/// that its group has now. What others wrote stays as it is.
pub(crate) fn adopt(headers: &mut Headers, old: &str, new: &str) {
    if is_marked(headers, old) {
        headers.insert(names::ES_QUEUE, new);
    }
    let rename = |table: &Headers, name: &'static str| {
        (table.get_str(name) == Some(old)).then(|| {
            let mut renamed = table.clone();
            renamed.insert(name, new);
            renamed
        })
    };
    let attempts = headers.get(names::ES_ATTEMPTS).and_then(Value::as_table);
    if let Some(attempts) = attempts.and_then(|it| rename(it, names::ATTEMPTS_QUEUE)) {
        headers.insert(names::ES_ATTEMPTS, attempts);
    }
    // The broker's note of where it gave a message up, which tells where a replay is to go.
    let deaths = headers.get("x-death").and_then(Value::as_array).unwrap_or_default();
    let renamed = |death: &Value| death.as_table().and_then(|it| rename(it, "queue"));
    if deaths.iter().any(|death| renamed(death).is_some()) {
        let deaths = deaths.iter().map(|it| renamed(it).map_or_else(|| it.clone(), Value::Table)).collect();
        headers.insert("x-death", Value::Array(deaths));
    }
}

/// The aggregate that a delivery belongs to, as a text to choose a lane by; nothing is decoded.
///
/// It is the id on the wire: equal for equal aggregates, whoever published. `None` when the
/// publisher named no aggregate, or is no speaker of this format.
#[must_use]
pub fn lane(received: &Received) -> Option<Cow<'_, str>> {
    let headers = &received.message.headers;
    let id = header_text(headers.get(names::AGGREGATE_ID)?)?;
    if headers.get(names::ES_NO_AGGREGATE_ID).is_some() {
        let event_id = received.message.properties.message_id.as_deref().unwrap_or_default();
        if *id == missing_aggregate_id(wire_id(event_id)).to_string() {
            return None;
        }
    }
    Some(id)
}

/// Whether the worker of `queue` made this copy.
pub(super) fn is_marked(headers: &Headers, queue: &str) -> bool {
    headers.get_str(names::ES_QUEUE) == Some(queue)
}

/// A text, or an integer as one.
pub(super) fn header_text(value: &Value) -> Option<Cow<'_, str>> {
    match value.as_str() {
        Some(text) => Some(Cow::Borrowed(text)),
        None => value.as_int().map(|number| Cow::Owned(number.to_string())),
    }
}

pub(super) fn event_type(received: &Received) -> Option<String> {
    let message = &received.message;
    let named = |name: &&str| !name.is_empty();
    message
        .headers
        .get_str(names::EVENT_TYPE)
        .filter(named)
        .or_else(|| message.properties.kind.as_deref().filter(named))
        .map(str::to_owned)
        .or_else(|| event_type_in(&message.body))
}

/// The event type in a body, read no further than it stands.
fn event_type_in(body: &[u8]) -> Option<String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // Most bodies that are no JSON object are known by their first byte.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let mut found = None;
    // The error that ends the reading early, or says that the body is broken, is of no interest.
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(Scan { found: &mut found });
    found.filter(|name: &String| !name.is_empty())
}

struct Scan<'a> {
    found: &'a mut Option<String>,
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KeySeed)? {
            if key == names::EVENT_TYPE {
                *self.found = Some(map.next_value()?);
                return Err(A::Error::custom("found"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{message::Message, wire::testing::received};

    const QUEUE: &str = "events.projections";

    fn with(headers: &[(&'static str, &'static str)]) -> Received {
        received(Message { headers: headers.iter().copied().collect(), ..Message::default() })
    }

    #[test]
    fn the_event_type_is_in_the_header_or_the_property_or_the_body() {
        let message = |header: Option<Value>, kind: Option<&'static str>, body: &'static str| {
            let mut message = Message { body: Bytes::from_static(body.as_bytes()), ..Message::default() };
            if let Some(header) = header {
                message.headers.insert(names::EVENT_TYPE, header);
            }
            message.properties.kind = kind.map(Into::into);
            origin(&received(message), QUEUE).event_type
        };
        let body = r#"{"a":[{}],"event_type":"Body""#;

        for (header, kind, body, expected) in [
            (Some("Header".into()), Some("Property"), body, Some("Header")),
            (None, Some("Property"), body, Some("Property")),
            (None, None, body, Some("Body")),
            (Some(Value::I8(1)), None, body, Some("Body")),
            (Some("".into()), Some(""), body, Some("Body")),
            (None, None, r#"  {"event_type":"Body"} rest"#, Some("Body")),
            (None, None, r#"{"event_type":7}"#, None),
            (None, None, r#"{"event_type":""}"#, None),
            (None, None, r#"{"payload":{"event_type":"Inner"}}"#, None),
            (None, None, r#"["event_type"]"#, None),
            (None, None, "{", None),
            (None, None, "", None),
        ] {
            assert_eq!(message(header, kind, body).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn believes_the_first_address_only_from_its_own_worker() {
        let address =
            [(names::ES_ORIGINAL_EXCHANGE, "events"), (names::ORIGINAL_ROUTING_KEY, "Order.OrderPlaced")];
        let at = |queue: &'static str, exchange: &str, key: &str| {
            let mut received = with(&[address[0], address[1], (names::ES_QUEUE, queue)]);
            received.exchange = exchange.to_owned();
            received.routing_key = key.to_owned();
            let origin = origin(&received, QUEUE);
            (origin.exchange, origin.routing_key)
        };
        let pair = |exchange: &str, key: &str| (exchange.to_owned(), key.to_owned());

        assert_eq!(at(QUEUE, "events.projections.in", "x"), pair("events", "Order.OrderPlaced"));
        assert_eq!(at("events.other", "events", "Order.OrderShipped"), pair("events", "Order.OrderShipped"));
        assert_eq!(at("events.other", "", QUEUE), pair("events", "Order.OrderPlaced"));
    }

    #[test]
    fn ignores_an_address_of_the_wrong_type_or_length() {
        let mut received = with(&[(names::ES_QUEUE, QUEUE)]);
        received.message.headers.insert(names::ORIGINAL_ROUTING_KEY, "k".repeat(256));
        received.message.headers.insert(names::ES_ORIGINAL_EXCHANGE, Value::Table(Headers::new()));

        let origin = origin(&received, QUEUE);

        assert_eq!(origin.routing_key, received.routing_key);
        assert_eq!(origin.exchange, received.exchange);
    }

    #[test]
    fn a_lane_is_the_aggregate_on_the_wire() {
        assert_eq!(lane(&with(&[])), None);
        assert_eq!(lane(&with(&[(names::AGGREGATE_ID, "a-1")])).as_deref(), Some("a-1"));
        let mut numbered = with(&[]);
        numbered.message.headers.insert(names::AGGREGATE_ID, 17_i64);
        assert_eq!(lane(&numbered).as_deref(), Some("17"));
    }

    #[test]
    fn what_the_worker_of_a_queue_wrote_stands_for_it_under_another_name() {
        let mut received =
            with(&[(names::ES_QUEUE, "events.old"), (names::ORIGINAL_ROUTING_KEY, "Order.Placed")]);
        let headers = &mut received.message.headers;
        let attempts: Headers = [("project", 2_u32)].into_iter().collect();
        let mut list: Headers = [(names::ATTEMPTS_QUEUE, "events.old")].into_iter().collect();
        list.insert(names::ATTEMPTS_HANDLERS, attempts);
        headers.insert(names::ES_ATTEMPTS, list);
        let death = |queue: &str| Value::Table([("queue", queue.to_owned())].into_iter().collect());
        headers.insert("x-death", Value::Array(vec![death("events.old"), death("events.other")]));
        let before = received.clone();

        adopt(&mut received.message.headers, "events.older", QUEUE);
        assert_eq!(received.message, before.message, "another name");
        adopt(&mut received.message.headers, "events.old", QUEUE);

        assert_eq!(origin(&received, QUEUE).routing_key, "Order.Placed");
        let attempts = crate::wire::attempts(&received, QUEUE);
        assert_eq!((&*attempts[0].handler, attempts[0].attempt), ("project", 2));
        let deaths = received.message.headers.get("x-death").and_then(Value::as_array).unwrap();
        assert_eq!(deaths, [death(QUEUE), death("events.other")]);
    }
}
