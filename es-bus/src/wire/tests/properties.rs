//! Whatever is given: what is written is read back, and nothing panics.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::{collection, option, prelude::*, test_runner::Config};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;
use time::OffsetDateTime;

use crate::{
    event::{Event, EventKind},
    message::{Headers, Message, Properties, Received, Value},
    metadata::Metadata,
    wire::{
        ENVELOPE_FIELDS, FailureInfo, HandlerAttempt, Source, attempts, check_sizes, decode, decode_metadata,
        drop_foreign, encode, fit, lane, names, origin, retry_count,
        testing::{event, of_body, received},
        waits,
    },
};

const QUEUE: &str = "events.projections";
const FRAME_MAX: usize = 131_072;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Anything {
    number: i64,
    real: f64,
    text: Option<String>,
    list: Vec<(u8, String)>,
    #[serde(flatten)]
    rest: BTreeMap<String, Json>,
}
event!(Anything, EventKind::new("Anything", "Order", "Order.Anything"));

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct AnythingNested(Json);
event!(AnythingNested, EventKind::new("AnythingNested", "Order", "Order.AnythingNested").nested());

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

fn payload() -> impl Strategy<Value = Anything> {
    let own = ["number", "real", "text", "list"];
    let key = any::<String>().prop_filter("a name of its own", move |key| {
        !ENVELOPE_FIELDS.contains(&&**key) && !own.contains(&&**key)
    });
    (
        any::<i64>(),
        -1e9..1e9_f64,
        option::of(any::<String>()),
        collection::vec(any::<(u8, String)>(), 0..4),
        collection::btree_map(key, json(), 0..4),
    )
        .prop_map(|(number, real, text, list, rest)| Anything {
            number,
            real: real.round(),
            text,
            list,
            rest,
        })
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<[u8; 16]>().prop_map(|bytes| uuid::Uuid::from_bytes(bytes).to_string()),
        any::<[u8; 16]>().prop_map(|bytes| uuid::Uuid::from_bytes(bytes).simple().to_string().to_uppercase()),
        ".{1,40}",
    ]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let optional = || option::of(id());
    (
        (id(), optional(), optional(), optional(), optional()),
        option::of(any::<String>()),
        1..=u64::MAX,
        // The years 1 to 9999, in microseconds.
        -62_135_596_800_000_000_i64..253_402_300_800_000_000,
        collection::btree_map(any::<String>(), json(), 0..3),
    )
        .prop_map(
            |((event, aggregate, tenant, correlation, causation), actor, version, micros, more)| {
                let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).unwrap();
                Metadata {
                    aggregate_id: aggregate,
                    aggregate_type: "Order".to_owned(),
                    aggregate_version: version,
                    tenant_id: tenant,
                    actor_id: actor,
                    correlation_id: correlation,
                    causation_id: causation,
                    metadata: more.into_iter().collect(),
                    ..Metadata::new(event, String::new(), at)
                }
            },
        )
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
        any::<u64>().prop_map(Value::Timestamp),
        Just(Value::Void),
        any::<String>().prop_map(Value::from),
        Just(Value::from(QUEUE)),
        collection::vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Str(bytes.into())),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            collection::vec((header_name(), inner), 0..3)
                .prop_map(|entries| Value::Table(entries.into_iter().collect())),
        ]
    })
}

fn header_name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            names::EVENT_TYPE,
            names::AGGREGATE_ID,
            names::AGGREGATE_VERSION,
            names::RETRY_COUNT,
            names::ES_QUEUE,
            names::ES_ATTEMPTS,
            names::ES_WAITS,
            names::ES_NO_AGGREGATE_ID,
            names::ES_AGGREGATE_ID,
            names::ES_ORIGINAL_EXCHANGE,
            names::ORIGINAL_ROUTING_KEY,
            names::ES_FIRST_FAILURE_AT,
            names::ES_REPLAYED,
            names::REPLAYED_FROM_DLQ,
            names::ES_DROPPED_HEADERS,
            "queue",
            "handlers",
            "due",
            "CC",
            "x-death",
            "x-first-death-queue",
            "x-es-orig-CC",
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,12}",
    ]
}

fn hostile() -> impl Strategy<Value = Received> {
    let text = || option::of("[ -~]{0,60}".prop_map(std::borrow::Cow::Owned));
    (
        prop_oneof![
            collection::vec(any::<u8>(), 0..80),
            json().prop_map(|json| json.to_string().into_bytes()),
            collection::btree_map(prop::sample::select(&ENVELOPE_FIELDS[..]), json(), 0..6)
                .prop_map(|map| serde_json::to_vec(&map).unwrap()),
        ],
        collection::vec((header_name(), value()), 0..8),
        (text(), text(), text(), text()),
        option::of(any::<u64>()),
        "[a-zA-Z.]{0,40}",
    )
        .prop_map(|(body, headers, (message_id, kind, user_id, expiration), timestamp, key)| Received {
            exchange: "events".to_owned(),
            routing_key: key,
            redelivered: false,
            message: Message {
                properties: Properties {
                    message_id,
                    kind,
                    user_id,
                    expiration,
                    timestamp,
                    ..Properties::default()
                },
                headers: headers.into_iter().collect::<Headers>(),
                body: Bytes::from(body),
            },
        })
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, ..Config::with_cases(256) })]

    #[test]
    fn what_is_written_is_read_back(event in payload(), given in metadata()) {
        let message = encode(&event, &given).unwrap();
        let received = received(message.clone());
        let (read, again) = decode::<Anything>(&received, event.kind()).unwrap();

        let expected = Metadata { event_type: "Anything".to_owned(), ..given };
        prop_assert_eq!(&read, &expected);
        prop_assert_eq!(&again, &event);
        prop_assert_eq!(decode_metadata(&received).unwrap(), expected);
        prop_assert_eq!(lane(&received).is_some(), read.aggregate_id.is_some());
        prop_assert_eq!(encode(&again, &read).unwrap(), message);
    }

    #[test]
    fn a_nested_payload_is_read_back(payload in json(), given in metadata()) {
        let event = AnythingNested(payload);
        let received = received(encode(&event, &given).unwrap());

        let (read, again) = decode::<AnythingNested>(&received, event.kind()).unwrap();

        prop_assert_eq!(again, event);
        prop_assert_eq!(read, Metadata { event_type: "AnythingNested".to_owned(), ..given });
    }

    #[test]
    fn no_bytes_make_anything_panic(body in collection::vec(any::<u8>(), 0..200), text in any::<String>()) {
        for received in [of_body(body), of_body(text)] {
            let _ = origin(&received, QUEUE);
            if let Err(error) = decode::<Anything>(&received, &Anything::KINDS[0]) {
                prop_assert!(error.to_string().len() <= 1024);
            }
        }
    }

    #[test]
    fn no_message_stops_a_worker(delivery in hostile(), frame_max in 1500..FRAME_MAX) {
        let origin = origin(&delivery, QUEUE);
        let _ = decode::<Anything>(&delivery, &Anything::KINDS[0]);
        let _ = decode_metadata(&delivery);
        let _ = (lane(&delivery), waits(&delivery, QUEUE), retry_count(&delivery));
        prop_assert!(attempts(&delivery, QUEUE).len() <= 256);

        let failure = FailureInfo { reason: "handler_error", error_type: "E", text: "e".repeat(9000).into() };
        let handlers = [HandlerAttempt { handler: "project".to_owned(), attempt: 1, due_ms: Some(7) }];
        let source =
            Source { received: &delivery, origin: &origin, queue: QUEUE, now: OffsetDateTime::UNIX_EPOCH };
        for mut copy in [
            source.retry(&handlers, "1s", 1000, &failure, "p"),
            source.wait(&handlers, 1, "30s", 30_000, names::REASON_HANDLER_GONE, "p"),
            source.dead_letter(None, 0, &failure, "d", "p"),
            source.replay(&["project"], "p"),
        ] {
            prop_assert_eq!(&copy.body, &delivery.message.body);
            prop_assert_eq!(copy.headers.get("CC"), None);
            drop_foreign(&mut copy, frame_max).unwrap();
            check_sizes("events", &origin.routing_key, &copy, frame_max, FRAME_MAX).unwrap();
            prop_assert!(fit(&mut copy.clone(), frame_max).is_ok());
            let back = Received { message: copy, ..delivery.clone() };
            let first = super::super::origin(&back, QUEUE);
            prop_assert_eq!(&first.exchange, &origin.exchange);
            prop_assert_eq!(&first.routing_key, &origin.routing_key);
        }
    }

    #[test]
    fn a_retry_says_whom_it_is_for_and_no_more_each_time(delivery in hostile(), n in 1..u32::MAX) {
        let mut delivery = delivery;
        let handlers = [HandlerAttempt { handler: "project".to_owned(), attempt: n, due_ms: None }];
        let failure = FailureInfo { reason: "timeout", error_type: "Timeout", text: "late".into() };
        let mut lens = Vec::new();
        for _ in 0..4 {
            let origin = origin(&delivery, QUEUE);
            let copy = Source {
                received: &delivery, origin: &origin, queue: QUEUE, now: OffsetDateTime::UNIX_EPOCH,
            }.retry(&handlers, "1s", 1000, &failure, "p");
            lens.push(copy.headers.wire_len());
            delivery.message = copy;
            prop_assert_eq!(attempts(&delivery, QUEUE), handlers.clone());
        }
        prop_assert_eq!(lens[1], lens[3]);
    }
}
