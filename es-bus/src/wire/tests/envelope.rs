//! What is read of the envelope, from wherever it stands.

use time::{OffsetDateTime, macros::datetime};

use crate::{
    event::{Event, EventKind},
    message::{Headers, Message, StaticValue, Value},
    metadata::Metadata,
    wire::{
        EncodeError, NAMESPACE, decode, decode_metadata, encode, lane, names,
        testing::{OrderPlaced, of_body, received},
        wire_id,
    },
};

fn order() -> OrderPlaced {
    OrderPlaced { customer_id: "c".to_owned(), total_amount: 1.0 }
}

fn metadata(event_id: &str) -> Metadata {
    Metadata {
        aggregate_type: "Order".to_owned(),
        ..Metadata::new(event_id.to_owned(), "OrderPlaced".to_owned(), OffsetDateTime::UNIX_EPOCH)
    }
}

fn round(metadata: &Metadata) -> (Message, Metadata) {
    let message = encode(&order(), metadata).unwrap();
    let read = decode_metadata(&received(message.clone())).unwrap();
    (message, read)
}

fn body_of(message: &Message) -> serde_json::Value {
    serde_json::from_slice(&message.body).unwrap()
}

#[test]
fn an_id_that_is_no_uuid_travels_as_one_and_comes_back_as_it_was() {
    let given = Metadata {
        aggregate_id: Some("order-1".into()),
        tenant_id: Some("acme".into()),
        correlation_id: Some("11111111111141118111111111111111".into()),
        causation_id: Some("evt/ü".into()),
        ..metadata("e-1")
    };

    let (message, read) = round(&given);

    assert_eq!(read, given);
    let body = body_of(&message);
    for (field, original) in [
        ("event_id", "e-1"),
        ("aggregate_id", "order-1"),
        ("tenant_id", "acme"),
        ("correlation_id", "11111111111141118111111111111111"),
        ("causation_id", "evt/ü"),
    ] {
        let uuid = wire_id(original).to_string();
        assert_eq!(body[field], uuid.as_str(), "{field}");
        if field != "event_id" {
            assert_eq!(message.headers.get_str(field), Some(&*uuid), "{field}");
        }
        let header = format!("x-es-{}", field.replace('_', "-"));
        assert_eq!(message.headers.get_str(&header), Some(original), "{field}");
    }
    assert_eq!(message.properties.message_id.as_deref(), Some(&*wire_id("e-1").to_string()));
    assert_eq!(wire_id("e-1"), uuid::Uuid::new_v5(&NAMESPACE, b"e-1"));
}

#[test]
fn an_event_without_an_aggregate_has_a_uuid_for_python_and_none_for_us() {
    let (message, read) = round(&metadata("e-1"));

    assert_eq!(read.aggregate_id, None);
    let id = message.headers.get_str("aggregate_id").unwrap();
    assert!(uuid::Uuid::try_parse(id).is_ok());
    assert_eq!(body_of(&message)["aggregate_id"], id);
    assert_eq!(message.headers.get(names::ES_NO_AGGREGATE_ID), Some(&Value::Bool(true)));
    assert_eq!(lane(&received(message.clone())), None);

    let again = encode(&order(), &metadata("e-1")).unwrap();
    assert_eq!(again, message);
}

#[test]
fn a_marker_that_does_not_belong_to_the_id_is_ignored() {
    let given = Metadata { aggregate_id: Some("order-1".into()), ..metadata("e-1") };
    let (mut message, _) = round(&given);

    message.headers.insert(names::ES_NO_AGGREGATE_ID, true);
    message.headers.insert(names::ES_EVENT_ID, "e-2");

    let received = received(message);
    let read = decode_metadata(&received).unwrap();
    assert_eq!(read.aggregate_id.as_deref(), Some("order-1"));
    assert_eq!(read.event_id, wire_id("e-1").to_string());
    assert_eq!(lane(&received).as_deref(), Some(&*wire_id("order-1").to_string()));
}

#[test]
fn what_is_not_set_is_null_but_a_correlation_id_is_left_out() {
    let (message, read) = round(&metadata("11111111-1111-4111-8111-111111111111"));

    let body = body_of(&message);
    for field in ["tenant_id", "actor_id", "causation_id"] {
        assert_eq!(body.get(field), Some(&serde_json::Value::Null), "{field}");
    }
    assert_eq!(body.get("correlation_id"), None);
    for header in ["tenant_id", "causation_id", "correlation_id", names::ES_EVENT_ID] {
        assert_eq!(message.headers.get(header), None, "{header}");
    }
    assert_eq!(read.correlation_id, None);
}

#[test]
fn versions_are_at_least_one_and_any_size() {
    for (given, header) in [
        (0, Value::I8(1)),
        (128, Value::I16(128)),
        (40_000, Value::U16(40_000)),
        (u64::MAX, Value::I64(i64::MAX)),
    ] {
        let (message, read) = round(&Metadata { aggregate_version: given, ..metadata("e") });
        assert_eq!(message.headers.get("aggregate_version"), Some(&header));
        assert_eq!(read.aggregate_version, given.max(1));
    }
}

#[test]
fn what_cannot_be_said_on_the_wire_is_an_error() {
    assert!(matches!(encode(&order(), &metadata("")), Err(EncodeError::EmptyEventId { .. })));
    let early = Metadata { occurred_at: datetime!(-0044-03-15 12:00 UTC), ..metadata("e") };
    assert!(matches!(encode(&order(), &early), Err(EncodeError::OccurredAt { .. })));

    let before_epoch = Metadata { occurred_at: datetime!(1815-12-10 00:00 UTC), ..metadata("e") };
    let (message, read) = round(&before_epoch);
    assert_eq!(message.properties.timestamp, None);
    assert_eq!(read.occurred_at, before_epoch.occurred_at);
}

/// All that a kind can ask of a message.
struct Alarm;

impl Event for Alarm {
    const KINDS: &'static [EventKind] = &[EventKind::new("Alarm", "Plant", "Plant.Alarm")
        .version(3)
        .priority(9)
        .ttl_ms(30_000)
        .transient()
        .headers(&[("region", StaticValue::Str("eu")), ("event_type", StaticValue::Str("Overwritten"))])];

    fn kind(&self) -> &'static EventKind {
        &Self::KINDS[0]
    }

    fn aggregate_id(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some("plant-7".into())
    }

    fn serialize_payload<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit_struct("Alarm")
    }

    fn deserialize_payload<'de, D: serde::Deserializer<'de>>(_: &str, _: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

#[test]
fn a_kinds_wishes_are_on_the_message() {
    let message = encode(&Alarm, &metadata("e")).unwrap();

    assert!(!message.properties.persistent);
    assert_eq!(message.properties.priority, Some(9));
    assert_eq!(message.properties.expiration.as_deref(), Some("30000"));
    assert_eq!(message.headers.get_str("region"), Some("eu"));
    assert_eq!(message.headers.get_str("event_type"), Some("Alarm"));
    assert_eq!(body_of(&message)["event_version"], 3);
    assert_eq!(message.headers.get_str(names::ES_AGGREGATE_ID), Some("plant-7"));
    // This event reads nothing of its own; the envelope is read all the same.
    let (read, _) = decode::<Alarm>(&received(message), &Alarm::KINDS[0]).unwrap();
    assert_eq!((read.event_type.as_str(), read.event_version), ("Alarm", 3));
}

#[test]
fn what_the_body_leaves_out_is_in_headers_and_properties() {
    let mut received = of_body(r#"{"event_id":null,"tenant_id":null}"#);
    received.message.headers = [
        ("event_type", Value::from("OrderPlaced")),
        ("aggregate_id", Value::I64(42)),
        ("aggregate_type", "Order".into()),
        ("aggregate_version", Value::from("7")),
        ("tenant_id", "acme".into()),
        ("causation_id", "cause".into()),
    ]
    .into_iter()
    .collect();
    let properties = &mut received.message.properties;
    properties.message_id = Some("0123456789abcdef0123456789abcdef".into());
    properties.timestamp = Some(1_767_323_045);
    properties.correlation_id = Some("corr".into());

    let read = decode_metadata(&received).unwrap();

    let expected = Metadata {
        aggregate_id: Some("42".into()),
        aggregate_type: "Order".into(),
        aggregate_version: 7,
        tenant_id: Some("acme".into()),
        causation_id: Some("cause".into()),
        correlation_id: Some("corr".into()),
        ..Metadata::new(
            "0123456789abcdef0123456789abcdef".into(),
            "OrderPlaced".into(),
            datetime!(2026-01-02 03:04:05 UTC),
        )
    };
    assert_eq!(read, expected);
}

#[test]
fn a_message_that_says_nothing_has_defaults() {
    let nothing = Metadata::new(String::new(), String::new(), OffsetDateTime::UNIX_EPOCH);
    assert_eq!(decode_metadata(&of_body("{}")).unwrap(), nothing);

    let mut odd = of_body("{}");
    odd.message.headers = [
        ("event_type", Value::Table(Headers::new())),
        ("aggregate_id", Value::F64(1.5)),
        ("aggregate_version", Value::I8(-1)),
        ("tenant_id", Value::Void),
        (names::ES_NO_AGGREGATE_ID, Value::Void),
    ]
    .into_iter()
    .collect();
    odd.message.properties.timestamp = Some(u64::MAX);
    assert_eq!(decode_metadata(&odd).unwrap(), nothing);

    let order = of_body(r#"{"customer_id":"c","total_amount":1}"#);
    let (read, _) = decode::<OrderPlaced>(&order, &OrderPlaced::KINDS[0]).unwrap();
    assert_eq!((read.event_type.as_str(), read.aggregate_type.as_str()), ("OrderPlaced", "Order"));
}

#[test]
fn fields_of_a_body_are_read_leniently() {
    let read =
        |field: &str, json: &str| decode_metadata(&of_body(format!(r#"{{"{field}":{json}}}"#))).unwrap();

    assert_eq!(read("event_id", "17").event_id, "17");
    assert_eq!(read("event_version", r#"" 2 ""#).event_version, 2);
    assert_eq!(read("event_version", "2.0").event_version, 2);
    assert_eq!(read("event_version", r#""2.0""#).event_version, 2);
    assert_eq!(read("aggregate_version", "18446744073709551615").aggregate_version, u64::MAX);
    assert_eq!(read("metadata", "null").metadata, serde_json::Map::new());
    assert_eq!(read("metadata", r#"{"a":[1]}"#).metadata["a"], serde_json::json!([1]));
    for json in [r#""2026-01-02T03:04:05+00:00""#, r#""2026-01-02 03:04:05""#, "1767323045", "1767323045000"]
    {
        assert_eq!(read("occurred_at", json).occurred_at, datetime!(2026-01-02 03:04:05 UTC), "{json}");
    }
    assert_eq!(
        read("occurred_at", r#""2026-01-02T03:04:05.123456789Z""#).occurred_at,
        datetime!(2026-01-02 03:04:05.123456789 UTC)
    );
    assert_eq!(read(r"event\u005fid", r#""e""#).event_id, "e");
    let twice = of_body(r#"{"event_id":"a","actor_id":"x","event_id":"b","actor_id":null}"#);
    let twice = decode_metadata(&twice).unwrap();
    assert_eq!((twice.event_id.as_str(), twice.actor_id), ("b", None));
}

#[test]
fn a_field_of_the_body_that_cannot_be_read_is_named() {
    for (json, expected) in [
        (r#""event_id":{}"#, r#"field "event_id": invalid type: map, expected a string"#),
        (r#""aggregate_id":[1]"#, r#"field "aggregate_id": invalid type: sequence, expected a string"#),
        (r#""tenant_id":true"#, r#"field "tenant_id": invalid type: boolean `true`, expected a string"#),
        (r#""event_version":0"#, r#"field "event_version": 0 is not a whole number from 1 to 4294967295"#),
        (r#""event_version":"two""#, r#"field "event_version": "two" is not a whole number from 1"#),
        (r#""aggregate_version":-1"#, r#"field "aggregate_version": -1 is not a whole number from 1"#),
        (r#""aggregate_version":1.5"#, r#"field "aggregate_version": 1.5 is not a whole number from 1"#),
        (r#""occurred_at":"today""#, r#"field "occurred_at": "today" is not a time as RFC 3339 writes it"#),
        (r#""occurred_at":1e300"#, r#"is not a time as RFC 3339 writes it"#),
        (r#""metadata":"x""#, r#"field "metadata": invalid type: string "x", expected a map"#),
    ] {
        let error = decode_metadata(&of_body(format!("{{{json}}}"))).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\nwanted {expected}");
        assert!(error.contains("at line 1 column"), "{error}");
    }
}

#[test]
fn the_fields_of_a_nested_event_are_no_fields_of_the_envelope() {
    let nested = EventKind { ..EventKind::new("OrderPlaced", "Order", "Order.OrderPlaced").nested() };
    let body =
        r#"{"payload":{"customer_id":"c","total_amount":1,"event_id":"inner"},"event_id":"e","more":[]}"#;

    let (read, event) = decode::<OrderPlaced>(&of_body(body), &nested).unwrap();

    assert_eq!(read.event_id, "e");
    assert_eq!(event, order());
}
