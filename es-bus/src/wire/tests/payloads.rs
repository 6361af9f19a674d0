//! Which payloads go where, and what is said of those that cannot.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;

use crate::{
    event::{Event, EventKind},
    metadata::Metadata,
    wire::{
        EncodeError, decode, encode,
        testing::{OrderPlaced, event, of_body, received},
    },
};

fn metadata() -> Metadata {
    Metadata::new("11111111-1111-4111-8111-111111111111".into(), String::new(), OffsetDateTime::UNIX_EPOCH)
}

/// The event's own part of the body, or why there is none.
fn own<E: Event>(event: &E) -> Result<String, String> {
    let message = encode(event, &metadata()).map_err(|error| error.to_string())?;
    let body = std::str::from_utf8(&message.body).unwrap();
    Ok(body.split_once(r#""metadata":{}"#).unwrap().1.to_owned())
}

fn round<E: Event>(event: &E) -> E {
    let received = received(encode(event, &metadata()).unwrap());
    decode::<E>(&received, event.kind()).map_err(|error| error.to_string()).unwrap().1
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Ping;
event!(Ping, EventKind::new("Ping", "Node", "Node.Ping"));

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(Counts);
event!(Wrapped, EventKind::new("Wrapped", "Stock", "Stock.Wrapped"));

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Counts {
    #[serde(flatten)]
    by_item: BTreeMap<u32, i64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct ByShelf(HashMap<u16, bool>);
event!(ByShelf, EventKind::new("ByShelf", "Stock", "Stock.ByShelf"));

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Tagged {
    Refund { amount: f64 },
    Chargeback,
}
event!(Tagged, EventKind::new("Tagged", "Invoice", "Invoice.Tagged"));

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict<'a> {
    #[serde(borrow)]
    note: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    more: Option<u8>,
}
type StrictEvent = Strict<'static>;

impl Event for StrictEvent {
    const KINDS: &'static [EventKind] = &[EventKind::new("Strict", "Order", "Order.Strict")];

    fn kind(&self) -> &'static EventKind {
        &Self::KINDS[0]
    }

    fn serialize_payload<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }

    fn deserialize_payload<'de, D: Deserializer<'de>>(_: &str, deserializer: D) -> Result<Self, D::Error> {
        let strict = Strict::deserialize(deserializer)?;
        Ok(Strict { note: Cow::Owned(strict.note.into_owned()), more: strict.more })
    }
}

#[test]
fn what_is_a_json_object_stands_beside_the_envelope() {
    assert_eq!(own(&Ping).unwrap(), "}");
    let wrapped = Wrapped(Counts { by_item: [(7, -1), (8, 2)].into() });
    assert_eq!(own(&wrapped).unwrap(), r#","7":-1,"8":2}"#);
    let shelf = ByShelf([(3, true)].into());
    assert_eq!(own(&shelf).unwrap(), r#","3":true}"#);
    assert_eq!(own(&Tagged::Refund { amount: 1.5 }).unwrap(), r#","kind":"refund","amount":1.5}"#);
    let strict = Strict { note: "a\"ü".into(), more: None };
    assert_eq!(own(&strict).unwrap(), r#","note":"a\"ü"}"#);

    assert_eq!(round(&Ping), Ping);
    assert_eq!(round(&shelf), shelf);
    assert_eq!(round(&Tagged::Chargeback), Tagged::Chargeback);
    assert_eq!(round(&strict), strict);
}

/// The field is only known to be one at run time.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Dynamic(HashMap<String, u8>);
event!(Dynamic, EventKind::new("Dynamic", "Order", "Order.Dynamic"));

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Renamed {
    #[serde(rename = "tenant_id")]
    tenant: u8,
}
event!(Renamed, EventKind::new("Renamed", "Order", "Order.Renamed"));

#[test]
fn a_field_of_the_envelopes_name_is_refused_with_the_remedy() {
    let text = "which is a field of the envelope; rename it, or set `payload = \"nested\"` on the event";

    assert_eq!(
        own(&Renamed { tenant: 1 }).unwrap_err(),
        format!("event `Renamed` has a field `tenant_id`, {text}")
    );
    assert_eq!(
        own(&Dynamic([("event_id".to_owned(), 1)].into())).unwrap_err(),
        format!("event `Dynamic` has a field `event_id`, {text}")
    );
    assert!(own(&Dynamic([("Event_id".to_owned(), 1), ("a".repeat(30), 2)].into())).is_ok());
}

/// Any payload, under `payload`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nested(serde_json::Value);
event!(Nested, EventKind::new("Nested", "Order", "Order.Nested").nested());

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat(serde_json::Value);
event!(Flat, EventKind::new("Flat", "Order", "Order.Flat"));

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Outer {
    Struct { a: u8 },
    Tuple(u8, u8),
    New(u8),
    Unit,
}
event!(Outer, EventKind::new("Outer", "Order", "Order.Outer"));

#[test]
fn what_is_no_json_object_is_refused_with_the_remedy_and_can_be_nested() {
    use serde_json::json;
    for (value, found) in [
        (json!(null), None),
        (json!(17), Some("a number")),
        (json!(true), Some("a boolean")),
        (json!("text"), Some("a string")),
        (json!([1]), Some("an array")),
        (json!({"tenant_id": 1}), Some("")),
    ] {
        let flat = encode(&Flat(value.clone()), &metadata());
        match (flat, found) {
            (Ok(_), None) => {}
            (Err(EncodeError::ReservedField { field, .. }), Some("")) => assert_eq!(field, "tenant_id"),
            (Err(EncodeError::NotAnObject { event: "Flat", found }), Some(expected)) => {
                assert_eq!(found, expected);
            }
            other => panic!("{value}: {other:?}"),
        }

        assert_eq!(own(&Nested(value.clone())).unwrap(), format!(r#","payload":{value}}}"#));
        assert_eq!(round(&Nested(value.clone())), Nested(value));
    }
    for event in [Outer::Struct { a: 1 }, Outer::Tuple(1, 2), Outer::New(1), Outer::Unit] {
        let error = own(&event).unwrap_err();
        assert!(error.ends_with("not as a JSON object; set `payload = \"nested\"` on the event"), "{error}");
    }
}

/// A type whose `Serialize` fails.
#[derive(Debug)]
struct Poisoned;

impl Serialize for Poisoned {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("the lock is poisoned"))
    }
}

impl<'de> Deserialize<'de> for Poisoned {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}
event!(Poisoned, EventKind::new("Poisoned", "Order", "Order.Poisoned"));

#[test]
fn a_serialize_that_fails_is_told_with_its_cause() {
    let error = encode(&Poisoned, &metadata()).unwrap_err();

    assert_eq!(error.to_string(), "event `Poisoned` cannot be written as JSON");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the lock is poisoned");
}

fn error<E: Event + std::fmt::Debug>(body: &str) -> String {
    decode::<E>(&of_body(body.to_owned()), &E::KINDS[0]).unwrap_err().to_string()
}

#[test]
fn unknown_fields_are_passed_over_unless_the_event_denies_them() {
    let body = r#"{"customer_id":"c","new":{"deep":[1]},"event_id":"e","total_amount":1.0,"tenant_id":null}"#;
    let (metadata, order) = decode::<OrderPlaced>(&of_body(body), &OrderPlaced::KINDS[0]).unwrap();
    assert_eq!((order.customer_id.as_str(), order.total_amount), ("c", 1.0));
    assert_eq!(metadata.event_id, "e");

    let strict = r#"{"event_id":"e","note":"n","metadata":{"a":1},"correlation_id":"c"}"#;
    let (metadata, event) = decode::<StrictEvent>(&of_body(strict), &StrictEvent::KINDS[0]).unwrap();
    assert_eq!(event.note, "n");
    assert_eq!(metadata.correlation_id.as_deref(), Some("c"));
    assert_eq!(
        error::<StrictEvent>(r#"{"note":"n","extra":1}"#),
        "Strict: unknown field `extra`, expected `note` or `more` at line 1 column 19"
    );
    assert_eq!(decode::<Ping>(&of_body(r#"{"new":1,"actor_id":"me"}"#), &Ping::KINDS[0]).unwrap().1, Ping);
}

#[test]
fn an_undecodable_payload_names_the_field_and_the_place() {
    for (body, expected) in [
        (
            r#"{"customer_id":"c","total_amount":"much"}"#,
            "OrderPlaced: field \"total_amount\": invalid type: string \"much\", expected f64 at line 1 column 40",
        ),
        (r#"{"customer_id":"c"}"#, "OrderPlaced: missing field `total_amount` at line 1 column 19"),
        (
            r#"{"customer_id":"c","customer_id":"d"}"#,
            "OrderPlaced: duplicate field `customer_id` at line 1 column 32",
        ),
        ("[1]", "OrderPlaced: invalid type: sequence, expected a JSON object at line 1 column 0"),
        ("NaN", "OrderPlaced: expected value at line 1 column 1"),
        (
            r#"{"customer_id":"c","total_amount":NaN}"#,
            "OrderPlaced: field \"total_amount\": expected value at line 1 column 35",
        ),
        ("", "the body is empty"),
        (r#"{"customer_id":"c""#, "OrderPlaced: EOF while parsing an object at line 1 column 18"),
    ] {
        assert_eq!(error::<OrderPlaced>(body), expected, "{body}");
    }
    assert_eq!(error::<Nested>("{}"), "Nested: missing field `payload` at line 1 column 2");
}

#[test]
fn a_hostile_body_has_a_short_error() {
    let long_key = format!(r#"{{"note":"n","{}":1}}"#, "k".repeat(1_000_000));
    assert!(error::<StrictEvent>(&long_key).len() <= 1024);
    let deep = format!(r#"{{"note":{}"#, "[".repeat(1_000_000));
    assert!(error::<StrictEvent>(&deep).len() <= 1024);
    let metadata = format!(r#"{{"metadata":{}"#, r#"{"a":"#.repeat(1_000_000));
    assert!(error::<StrictEvent>(&metadata).contains("recursion limit exceeded"));

    let not_utf8 = decode::<OrderPlaced>(&of_body(&b"\xff"[..]), &OrderPlaced::KINDS[0]).unwrap_err();
    assert_eq!(not_utf8.to_string(), "the body is not UTF-8, at byte 0");
}

#[test]
fn an_event_in_a_flat_body_can_be_an_enum_that_names_its_variant() {
    let (_, event) =
        decode::<Outer>(&of_body(r#"{"event_id":"e","Struct":{"a":1},"actor_id":"me"}"#), &Outer::KINDS[0])
            .unwrap();

    assert_eq!(event, Outer::Struct { a: 1 });
}

#[test]
fn a_byte_order_mark_is_no_obstacle() {
    let body = b"\xef\xbb\xbf{\"customer_id\":\"c\",\"total_amount\":1}";

    assert!(decode::<OrderPlaced>(&of_body(&body[..]), &OrderPlaced::KINDS[0]).is_ok());
}

#[test]
fn only_json_is_read_as_json() {
    let read = |content_type: Option<&'static str>, encoding: Option<&'static str>, body: &'static str| {
        let mut received = of_body(body);
        received.message.properties.content_type = content_type.map(Into::into);
        received.message.properties.content_encoding = encoding.map(Into::into);
        decode::<Ping>(&received, &Ping::KINDS[0]).map(drop).map_err(|error| error.to_string())
    };

    for content_type in [
        "",
        "application/json",
        "Application/JSON; charset=utf-8",
        "text/json",
        "application/cloudevents+json",
    ] {
        assert_eq!(read(Some(content_type), Some("binary"), "{}"), Ok(()), "{content_type}");
    }
    assert_eq!(
        read(Some("application/xml"), None, "{}"),
        Err("content type \"application/xml\" is not JSON".to_owned())
    );
    assert_eq!(
        read(None, Some("gzip"), "\u{1f}"),
        Err("content encoding \"gzip\" is not one that can be read".to_owned())
    );
    assert_eq!(read(None, None, "{}"), Ok(()));
}
