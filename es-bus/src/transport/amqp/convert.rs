//! Messages and tables in lapin's types, and back.
//!
//! What does not fit is found here, before lapin sees it: lapin panics at a short string of more
//! than 255 bytes, and the broker answers a header that fills more than one frame by closing the
//! connection, with all that is on it.

use bytes::Bytes;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString},
};

use crate::{
    message::{Headers, Message, Properties, Received, Text, Value},
    topic::MAX_KEY_LEN,
    wire::{TooLarge, names},
};

/// What events are written in.
const JSON: &str = "application/json";

/// A short string of AMQP.
pub(super) fn short(what: &'static str, text: &str) -> Result<ShortString, TooLarge> {
    ShortString::try_new(text).map_err(|_| TooLarge {
        what: what.into(),
        size: text.len(),
        limit: MAX_KEY_LEN,
    })
}

/// The properties and headers of a message, for lapin.
pub(super) fn properties(message: &Message) -> Result<BasicProperties, TooLarge> {
    let from = &message.properties;
    let text = |text: &Text| short("a property", text);
    let mut to = BasicProperties::default().with_delivery_mode(if from.persistent { 2 } else { 1 });
    if let Some(content_type) = &from.content_type {
        to = to.with_content_type(text(content_type)?);
    }
    if let Some(content_encoding) = &from.content_encoding {
        to = to.with_content_encoding(text(content_encoding)?);
    }
    if !message.headers.is_empty() {
        to = to.with_headers(table(&message.headers)?);
    }
    if let Some(priority) = from.priority {
        to = to.with_priority(priority);
    }
    if let Some(correlation_id) = &from.correlation_id {
        to = to.with_correlation_id(text(correlation_id)?);
    }
    if let Some(reply_to) = &from.reply_to {
        to = to.with_reply_to(text(reply_to)?);
    }
    if let Some(expiration) = &from.expiration {
        to = to.with_expiration(text(expiration)?);
    }
    if let Some(message_id) = &from.message_id {
        to = to.with_message_id(text(message_id)?);
    }
    if let Some(timestamp) = from.timestamp {
        to = to.with_timestamp(timestamp);
    }
    if let Some(kind) = &from.kind {
        to = to.with_type(text(kind)?);
    }
    if let Some(user_id) = &from.user_id {
        to = to.with_user_id(text(user_id)?);
    }
    if let Some(app_id) = &from.app_id {
        to = to.with_app_id(text(app_id)?);
    }
    Ok(to)
}

/// A table for lapin.
pub(super) fn table(headers: &Headers) -> Result<FieldTable, TooLarge> {
    let mut table = FieldTable::default();
    for (name, content) in headers.iter() {
        table.insert(short("the name of a header", name)?, value(content)?);
    }
    Ok(table)
}

fn value(from: &Value) -> Result<AMQPValue, TooLarge> {
    Ok(match from {
        Value::Bool(v) => AMQPValue::Boolean(*v),
        Value::I8(n) => AMQPValue::ShortShortInt(*n),
        Value::U8(n) => AMQPValue::ShortShortUInt(*n),
        Value::I16(n) => AMQPValue::ShortInt(*n),
        Value::U16(n) => AMQPValue::ShortUInt(*n),
        Value::I32(n) => AMQPValue::LongInt(*n),
        Value::U32(n) => AMQPValue::LongUInt(*n),
        Value::I64(n) => AMQPValue::LongLongInt(*n),
        Value::F32(n) => AMQPValue::Float(*n),
        Value::F64(n) => AMQPValue::Double(*n),
        Value::Decimal(scale, value) => {
            AMQPValue::DecimalValue(DecimalValue { scale: *scale, value: *value })
        }
        Value::Str(bytes) => AMQPValue::LongString(LongString::from(bytes.to_vec())),
        Value::Timestamp(seconds) => AMQPValue::Timestamp(*seconds),
        Value::Array(values) => {
            AMQPValue::FieldArray(FieldArray::from(values.iter().map(value).collect::<Result<Vec<_>, _>>()?))
        }
        Value::Table(headers) => AMQPValue::FieldTable(table(headers)?),
        Value::Bytes(bytes) => AMQPValue::ByteArray(ByteArray::from(bytes.to_vec())),
        Value::Void => AMQPValue::Void,
    })
}

/// What lapin delivered.
pub(super) fn received(delivery: Delivery) -> Received {
    let (properties, headers) = from_properties(&delivery.properties);
    Received {
        message: Message { properties, headers, body: Bytes::from(delivery.data) },
        exchange: delivery.exchange.into(),
        routing_key: delivery.routing_key.into(),
        redelivered: delivery.redelivered,
    }
}

/// A message through lapin's types and back. For those who fuzz it.
///
/// # Errors
///
/// As [`properties`].
#[doc(hidden)]
pub fn there_and_back(message: &Message) -> Result<Message, TooLarge> {
    let (properties, headers) = from_properties(&properties(message)?);
    Ok(Message { properties, headers, body: message.body.clone() })
}

fn from_properties(from: &BasicProperties) -> (Properties, Headers) {
    let text = |text: &Option<ShortString>| text.as_ref().map(|text| Text::Owned(text.as_str().to_owned()));
    let content_type = from.content_type().as_ref().map(ShortString::as_str);
    let properties = Properties {
        content_type: match content_type {
            Some(JSON) => Some(Text::Borrowed(JSON)),
            _ => text(from.content_type()),
        },
        content_encoding: text(from.content_encoding()),
        persistent: *from.delivery_mode() == Some(2),
        priority: *from.priority(),
        correlation_id: text(from.correlation_id()),
        reply_to: text(from.reply_to()),
        expiration: text(from.expiration()),
        message_id: text(from.message_id()),
        timestamp: *from.timestamp(),
        kind: text(from.kind()),
        user_id: text(from.user_id()),
        app_id: text(from.app_id()),
    };
    (properties, from.headers().as_ref().map(headers).unwrap_or_default())
}

/// A table from lapin. The texts in it share one allocation.
fn headers(table: &FieldTable) -> Headers {
    let texts = || {
        table.into_iter().filter_map(|(_, value)| match value {
            AMQPValue::LongString(text) => Some(text.as_bytes()),
            _ => None,
        })
    };
    let mut all = Vec::with_capacity(texts().map(<[u8]>::len).sum());
    texts().for_each(|text| all.extend_from_slice(text));
    let mut all = Bytes::from(all);
    let mut headers = Headers::with_capacity(table.inner().len());
    for (name, value) in table {
        let value = match value {
            AMQPValue::LongString(text) => Value::Str(all.split_to(text.len())),
            value => from_value(value),
        };
        headers.insert(header_name(name.as_str()), value);
    }
    headers
}

/// The name of a header, without a copy where it is one that every event has.
fn header_name(name: &str) -> Text {
    Text::Borrowed(match name {
        names::EVENT_TYPE => names::EVENT_TYPE,
        names::AGGREGATE_ID => names::AGGREGATE_ID,
        names::AGGREGATE_TYPE => names::AGGREGATE_TYPE,
        names::AGGREGATE_VERSION => names::AGGREGATE_VERSION,
        names::CAUSATION_ID => names::CAUSATION_ID,
        names::CORRELATION_ID => names::CORRELATION_ID,
        names::TENANT_ID => names::TENANT_ID,
        names::RETRY_COUNT => names::RETRY_COUNT,
        _ => return Text::Owned(name.to_owned()),
    })
}

fn from_value(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(v) => Value::Bool(*v),
        AMQPValue::ShortShortInt(n) => Value::I8(*n),
        AMQPValue::ShortShortUInt(n) => Value::U8(*n),
        AMQPValue::ShortInt(n) => Value::I16(*n),
        AMQPValue::ShortUInt(n) => Value::U16(*n),
        AMQPValue::LongInt(n) => Value::I32(*n),
        AMQPValue::LongUInt(n) => Value::U32(*n),
        AMQPValue::LongLongInt(n) => Value::I64(*n),
        AMQPValue::Float(n) => Value::F32(*n),
        AMQPValue::Double(n) => Value::F64(*n),
        AMQPValue::DecimalValue(n) => Value::Decimal(n.scale, n.value),
        // Never on the wire: `s` is a 16-bit integer for RabbitMQ.
        AMQPValue::ShortString(text) => Value::Str(Bytes::from(text.to_string())),
        AMQPValue::LongString(text) => Value::Str(Bytes::copy_from_slice(text.as_bytes())),
        AMQPValue::FieldArray(values) => Value::Array(values.as_slice().iter().map(from_value).collect()),
        AMQPValue::Timestamp(seconds) => Value::Timestamp(*seconds),
        AMQPValue::FieldTable(table) => Value::Table(headers(table)),
        AMQPValue::ByteArray(bytes) => Value::Bytes(Bytes::copy_from_slice(bytes.as_slice())),
        AMQPValue::Void => Value::Void,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_type() -> Headers {
        let inner: Headers =
            [("queue", Value::from("orders")), ("count", Value::I64(3))].into_iter().collect();
        [
            ("bool", Value::Bool(true)),
            ("i8", Value::I8(-128)),
            ("u8", Value::U8(255)),
            ("i16", Value::I16(-32_768)),
            ("u16", Value::U16(65_535)),
            ("i32", Value::I32(i32::MIN)),
            ("u32", Value::U32(u32::MAX)),
            ("i64", Value::I64(i64::MIN)),
            ("f32", Value::F32(1.5)),
            ("f64", Value::F64(-2.25)),
            ("decimal", Value::Decimal(2, 12_345)),
            ("text", Value::from("boom: ünïcode\nline2")),
            ("no text", Value::Str(Bytes::from_static(b"\xff\xfe"))),
            ("timestamp", Value::Timestamp(1_767_323_045)),
            ("array", Value::Array(vec![Value::Table(inner.clone()), Value::Void])),
            ("table", Value::Table(inner)),
            ("bytes", Value::Bytes(Bytes::from_static(b"\x00\x01"))),
            ("void", Value::Void),
        ]
        .into_iter()
        .collect()
    }

    fn full() -> Message {
        let text = |text: &'static str| Some(Text::Borrowed(text));
        Message {
            properties: Properties {
                content_type: text("application/json"),
                content_encoding: text("utf-8"),
                persistent: true,
                priority: Some(0),
                correlation_id: text("correlation"),
                reply_to: text("replies"),
                expiration: text("1000"),
                message_id: text("11111111-1111-4111-8111-111111111111"),
                timestamp: Some(1_767_323_045),
                kind: text("OrderPlaced"),
                user_id: text("guest"),
                app_id: text("shop"),
            },
            headers: every_type(),
            body: Bytes::from_static(b"{}"),
        }
    }

    #[test]
    fn keeps_every_property_and_header_type_there_and_back() {
        let message = full();
        let mut delivery =
            Delivery::mock(1, "orders".into(), "Order.OrderPlaced".into(), true, b"{}".to_vec());

        delivery.properties = properties(&message).expect("it fits");

        assert_eq!(
            received(delivery),
            Received {
                message,
                exchange: "orders".to_owned(),
                routing_key: "Order.OrderPlaced".to_owned(),
                redelivered: true,
            }
        );
    }

    #[test]
    fn a_message_without_anything_stays_so() {
        let mut delivery = Delivery::mock(1, "".into(), "".into(), false, Vec::new());

        delivery.properties = properties(&Message::default()).expect("it fits");

        assert_eq!(received(delivery).message, Message::default());
    }

    #[test]
    fn an_overlong_text_is_named_and_never_reaches_lapin() {
        let long = "x".repeat(256);
        let mut message = full();
        message.properties.message_id = Some(long.clone().into());
        let error = properties(&message).expect_err("it does not fit");
        assert_eq!(error, TooLarge { what: "a property".into(), size: 256, limit: 255 });

        let mut message = full();
        let inner: Headers = [(long, Value::Void)].into_iter().collect();
        message.headers.insert("outer", Value::Array(vec![Value::Table(inner)]));
        assert_eq!(properties(&message).expect_err("it does not fit").what, "the name of a header");
    }

    #[test]
    fn counts_the_header_frame_as_the_broker_does() {
        // wire.md 2.5: the frame that eventsource-py sent, 0x11e bytes between header and end.
        let message = Message {
            properties: Properties {
                content_type: Some("application/json".into()),
                content_encoding: Some("utf-8".into()),
                persistent: true,
                priority: Some(0),
                message_id: Some("11111111-1111-4111-8111-111111111111".into()),
                timestamp: Some(1_767_323_045),
                ..Properties::default()
            },
            headers: [
                ("aggregate_id", Value::from("22222222-2222-4222-8222-222222222222")),
                ("aggregate_type", Value::from("Order")),
                ("aggregate_version", Value::int(1)),
                ("correlation_id", Value::from("33333333-3333-4333-8333-333333333333")),
                ("event_type", Value::from("OrderPlaced")),
                ("x-retry-count", Value::int(0)),
            ]
            .into_iter()
            .collect(),
            body: Bytes::new(),
        };

        assert_eq!(crate::wire::header_frame_len(&message), 0x11e + 8);
    }
}
