//! Bytes → messages, so that what a fuzzer changes is a header or a text and not the whole.

use bytes::Bytes;
use es_bus::{
    message::{Headers, Message, Properties, Received, Text, Value},
    wire::names,
};

/// The queue of the group that takes the message.
pub(crate) const QUEUE: &str = "events.ledger";
/// Its dead-letter queue.
pub(crate) const DLQ: &str = "events.ledger.dlq";

/// The names that mean something to somebody.
const NAMES: [&str; 46] = [
    names::EVENT_TYPE,
    names::AGGREGATE_ID,
    names::AGGREGATE_TYPE,
    names::AGGREGATE_VERSION,
    names::CAUSATION_ID,
    names::CORRELATION_ID,
    names::TENANT_ID,
    names::RETRY_COUNT,
    names::LAST_RETRY_AT,
    names::DLQ_REASON,
    names::DLQ_ERROR_TYPE,
    names::DLQ_RETRY_COUNT,
    names::DLQ_TIMESTAMP,
    names::ORIGINAL_ROUTING_KEY,
    names::REPLAYED_FROM_DLQ,
    names::ES_EVENT_ID,
    names::ES_AGGREGATE_ID,
    names::ES_CORRELATION_ID,
    names::ES_CAUSATION_ID,
    names::ES_TENANT_ID,
    names::ES_NO_AGGREGATE_ID,
    names::ES_DELAY,
    names::ES_QUEUE,
    names::ES_ATTEMPTS,
    names::ES_WAITS,
    names::ES_PUBLISH_ID,
    names::ES_ORIGINAL_EXCHANGE,
    names::ES_FIRST_FAILURE_AT,
    names::ES_LAST_FAILURE_AT,
    names::ES_REASON,
    names::ES_ERROR,
    names::ES_ERROR_TYPE,
    names::ES_HANDLER,
    names::ES_DLQ_ID,
    names::ES_REPLAYED,
    names::ES_REPLAYS,
    names::ES_DROPPED_HEADERS,
    "x-es-orig-expiration",
    "x-death",
    "x-first-death-queue",
    "x-delivery-count",
    "CC",
    "BCC",
    // Inside `x-es-attempts`, and inside `x-death`.
    "queue",
    "handlers",
    "routing-keys",
];

/// The texts that mean something to somebody.
const TEXTS: [&str; 12] = [
    QUEUE,
    DLQ,
    "events",
    "events_dlq",
    "Order.OrderPlaced",
    "OrderPlaced",
    "book",
    "expired",
    "2026-01-02T03:04:05.678901+00:00",
    "11111111-1111-4111-8111-111111111111",
    "3",
    "",
];

/// How deep tables and arrays may lie in each other.
const DEPTH: u8 = 6;

/// Takes values off the front of some bytes; when there are none left, everything is nothing.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// Whatever is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// A text that AMQP can carry as a short string.
    pub(crate) fn short(&mut self) -> String {
        let mut text = match self.byte() {
            known if usize::from(known) < TEXTS.len() => TEXTS[usize::from(known)].to_owned(),
            _ => String::from_utf8_lossy(self.bytes()).into_owned(),
        };
        while text.len() > 255 {
            text.pop();
        }
        text
    }

    fn property(&mut self) -> Option<Text> {
        (self.byte() % 4 == 1).then(|| Text::Owned(self.short()))
    }

    fn name(&mut self) -> String {
        match self.byte() {
            known if usize::from(known) < NAMES.len() => NAMES[usize::from(known)].to_owned(),
            _ => self.short(),
        }
    }

    fn value(&mut self, depth: u8) -> Value {
        match self.byte() % 20 {
            0 => Value::Bool(self.byte() % 2 == 1),
            1 => Value::I8(i8::from_le_bytes(self.array())),
            2 => Value::U8(self.byte()),
            3 => Value::I16(i16::from_le_bytes(self.array())),
            4 => Value::U16(u16::from_le_bytes(self.array())),
            5 => Value::I32(i32::from_le_bytes(self.array())),
            6 => Value::U32(self.u32()),
            7 => Value::I64(i64::from_le_bytes(self.array())),
            8 => Value::F32(f32::from_le_bytes(self.array())),
            9 => Value::F64(f64::from_le_bytes(self.array())),
            10 => Value::Decimal(self.byte(), self.u32()),
            11 => Value::Timestamp(u64::from_le_bytes(self.array())),
            12 => Value::Bytes(Bytes::copy_from_slice(self.bytes())),
            13 => Value::Void,
            14 => {
                // As long as a frame, and longer.
                let length = 16 * usize::from(u16::from_le_bytes(self.array()));
                Value::Str(Bytes::from(vec![b'x'; length]))
            }
            15 if depth > 0 => {
                let count = self.byte() % 4;
                Value::Array((0..count).map(|_| self.value(depth - 1)).collect())
            }
            16 | 17 if depth > 0 => Value::Table(self.table(depth - 1)),
            18 => Value::Str(Bytes::copy_from_slice(self.bytes())),
            _ => Value::from(self.short()),
        }
    }

    fn table(&mut self, depth: u8) -> Headers {
        let count = self.byte() % 12;
        (0..count).map(|_| (self.name(), self.value(depth))).collect()
    }

    fn message(&mut self) -> Message {
        Message {
            properties: Properties {
                content_type: self.property(),
                content_encoding: self.property(),
                persistent: self.byte() % 2 == 1,
                priority: (self.byte() % 4 == 1).then(|| self.byte()),
                correlation_id: self.property(),
                reply_to: self.property(),
                expiration: self.property(),
                message_id: self.property(),
                timestamp: (self.byte() % 4 == 1).then(|| u64::from_le_bytes(self.array())),
                kind: self.property(),
                user_id: self.property(),
                app_id: self.property(),
            },
            headers: self.table(DEPTH),
            body: Bytes::copy_from_slice(self.bytes()),
        }
    }

    /// A delivery such as a broker may hand out: whatever is said in it, its short strings are short.
    pub(crate) fn received(&mut self) -> Received {
        Received {
            exchange: self.short(),
            routing_key: self.short(),
            redelivered: self.byte() % 2 == 1,
            message: self.message(),
        }
    }
}
