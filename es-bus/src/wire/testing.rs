//! What the tests of this room share: an event written by hand, and messages as captured.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    event::{Event, EventKind},
    message::{Headers, Message, Received, Text, Value},
};

/// The event of wire.md's captured messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct OrderPlaced {
    pub(super) customer_id: String,
    pub(super) total_amount: f64,
}

/// Implements `Event` for a struct the way the macro does.
macro_rules! event {
    ($type:ty, $kind:expr) => {
        impl Event for $type {
            const KINDS: &'static [EventKind] = &[$kind];

            fn kind(&self) -> &'static EventKind {
                &Self::KINDS[0]
            }

            fn serialize_payload<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(self, serializer)
            }

            fn deserialize_payload<'de, D: Deserializer<'de>>(
                _: &str,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                serde::Deserialize::deserialize(deserializer)
            }
        }
    };
}
pub(super) use event;

event!(OrderPlaced, EventKind::new("OrderPlaced", "Order", "Order.OrderPlaced"));

/// A message as a consumer gets it.
pub(super) fn received(message: Message) -> Received {
    Received {
        message,
        exchange: "events".to_owned(),
        routing_key: "Order.OrderPlaced".to_owned(),
        redelivered: false,
    }
}

/// A message of this body and nothing else.
pub(super) fn of_body(body: impl Into<Bytes>) -> Received {
    received(Message { body: body.into(), ..Message::default() })
}

/// The body of all captured messages.
pub(super) const BODY: &str = r#"{"event_id":"11111111-1111-4111-8111-111111111111","event_type":"OrderPlaced","event_version":1,"occurred_at":"2026-01-02T03:04:05.678901Z","aggregate_id":"22222222-2222-4222-8222-222222222222","aggregate_type":"Order","aggregate_version":1,"tenant_id":null,"actor_id":null,"correlation_id":"33333333-3333-4333-8333-333333333333","causation_id":null,"metadata":{},"customer_id":"cust-123","total_amount":99.99}"#;

pub(super) const PUBLISHED: &str = "0200010000011e003c0000000000000000019af8c0106170706c69636174696f6e2f6a736f6e057574662d38000000c60c6167677265676174655f6964530000002432323232323232322d323232322d343232322d383232322d3232323232323232323232320e6167677265676174655f7479706553000000054f72646572116167677265676174655f76657273696f6e62010e636f7272656c6174696f6e5f6964530000002433333333333333332d333333332d343333332d383333332d3333333333333333333333330a6576656e745f74797065530000000b4f72646572506c616365640d782d72657472792d636f756e74620002002431313131313131312d313131312d343131312d383131312d31313131313131313131313100000000695735a5ce";
pub(super) const RETRIED: &str = "0200010000014b003c0000000000000000019af880106170706c69636174696f6e2f6a736f6e057574662d38000000fb0c6167677265676174655f6964530000002432323232323232322d323232322d343232322d383232322d3232323232323232323232320e6167677265676174655f7479706553000000054f72646572116167677265676174655f76657273696f6e62010e636f7272656c6174696f6e5f6964530000002433333333333333332d333333332d343333332d383333332d3333333333333333333333330a6576656e745f74797065530000000b4f72646572506c616365640f782d6c6173742d72657472792d61745300000020323032362d31312d32315430383a34343a35352e3839353639352b30303a30300d782d72657472792d636f756e74620102002431313131313131312d313131312d343131312d383131312d313131313131313131313131ce";
pub(super) const DEAD_LETTERED: &str = "02000100000208003c0000000000000000019af880106170706c69636174696f6e2f6a736f6e057574662d38000001b80c6167677265676174655f6964530000002432323232323232322d323232322d343232322d383232322d3232323232323232323232320e6167677265676174655f7479706553000000054f72646572116167677265676174655f76657273696f6e62010e636f7272656c6174696f6e5f6964530000002433333333333333332d333333332d343333332d383333332d3333333333333333333333330a6576656e745f74797065530000000b4f72646572506c6163656410782d646c712d6572726f722d74797065530000000a56616c75654572726f720c782d646c712d726561736f6e5300000015626f6f6d3a20c3bc6ec3af636f64650a6c696e653211782d646c712d72657472792d636f756e7462010f782d646c712d74696d657374616d705300000020323032362d31312d32315430383a34343a35352e3839393034392b30303a30300f782d6c6173742d72657472792d61745300000020323032362d31312d32315430383a34343a35352e3839353639352b30303a303016782d6f726967696e616c2d726f7574696e672d6b657953000000114f726465722e4f72646572506c616365640d782d72657472792d636f756e74620102002431313131313131312d313131312d343131312d383131312d313131313131313131313131ce";
pub(super) const REPLAYED: &str = "02000100000184003c0000000000000000019af880106170706c69636174696f6e2f6a736f6e057574662d38000001340c6167677265676174655f6964530000002432323232323232322d323232322d343232322d383232322d3232323232323232323232320e6167677265676174655f7479706553000000054f72646572116167677265676174655f76657273696f6e62010e636f7272656c6174696f6e5f6964530000002433333333333333332d333333332d343333332d383333332d3333333333333333333333330a6576656e745f74797065530000000b4f72646572506c616365640f782d6c6173742d72657472792d61745300000020323032362d31312d32315430383a34343a35352e3839353639352b30303a303013782d7265706c617965642d66726f6d2d646c715300000020323032362d31312d32315430383a34343a35372e3731313736332b30303a30300d782d72657472792d636f756e74620002002431313131313131312d313131312d343131312d383131312d313131313131313131313131ce";

/// The message of a captured header frame.
pub(super) fn captured(header_frame: &str) -> Message {
    let bytes: Vec<u8> = (0..header_frame.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&header_frame[at..at + 2], 16).unwrap())
        .collect();
    let mut frame = Frame(&bytes);
    assert_eq!(frame.take(1), [2], "not a header frame");
    frame.take(2);
    assert_eq!(frame.uint(4) as usize + 8, bytes.len());
    assert_eq!(frame.take(4), [0, 60, 0, 0], "not of class basic");
    assert_eq!(frame.uint(8), BODY.len() as u64);

    let flags = frame.uint(2);
    let has = |bit: u32| flags & (1 << bit) != 0;
    let mut message = Message { body: Bytes::from_static(BODY.as_bytes()), ..Message::default() };
    let properties = &mut message.properties;
    properties.content_type = has(15).then(|| frame.short());
    properties.content_encoding = has(14).then(|| frame.short());
    message.headers = if has(13) { frame.table() } else { Headers::new() };
    properties.persistent = has(12) && frame.uint(1) == 2;
    properties.priority = has(11).then(|| frame.uint(1) as u8);
    assert!(!has(10) && !has(9) && !has(8));
    properties.message_id = has(7).then(|| frame.short());
    properties.timestamp = has(6).then(|| frame.uint(8));
    assert_eq!(flags & 0b11_1111, 0);
    assert_eq!(frame.0, [0xce]);
    message
}

struct Frame<'a>(&'a [u8]);

impl<'a> Frame<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn uint(&mut self, width: usize) -> u64 {
        self.take(width).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn short(&mut self) -> Text {
        let len = self.uint(1) as usize;
        Cow::Owned(String::from_utf8(self.take(len).to_vec()).unwrap())
    }

    fn table(&mut self) -> Headers {
        let len = self.uint(4) as usize;
        let mut entries = Frame(self.take(len));
        let mut table = Headers::new();
        while !entries.0.is_empty() {
            let name = entries.short();
            let value = match entries.take(1) {
                b"S" => {
                    let len = entries.uint(4) as usize;
                    Value::Str(Bytes::copy_from_slice(entries.take(len)))
                }
                b"b" => Value::I8(entries.take(1)[0] as i8),
                other => panic!("not captured yet: {other:?}"),
            };
            table.insert(name, value);
        }
        table
    }
}
