//! What a message carries arrives as it was sent, to the type.

use es_bus::{
    message::{Headers, Message, Properties, Value},
    transport::Settlement,
};

use super::{Fixture, next, text};

pub(crate) async fn every_property_survives(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    let full = Properties {
        content_type: Some("application/json".into()),
        content_encoding: Some("utf-8".into()),
        persistent: true,
        priority: Some(3),
        correlation_id: Some("checkout-7".into()),
        reply_to: Some("answers".into()),
        expiration: Some("600000".into()),
        message_id: Some("3f1c".into()),
        timestamp: Some(1_700_000_000),
        kind: Some("OrderPlaced".into()),
        user_id: None,
        app_id: Some("shop".into()),
    };
    for properties in [full, Properties::default()] {
        let sent = Message { properties, ..text("order") };
        fixture.send_message(&queue, sent.clone()).await;

        assert_eq!(received(fixture, &queue, false).await, sent);
    }
}

pub(crate) async fn every_type_of_header_survives(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    let sent = Message { headers: every_type(), ..text("order") };
    fixture.send_message(&queue, sent.clone()).await;

    assert_eq!(received(fixture, &queue, false).await, sent);
}

pub(crate) async fn every_type_of_header_survives_a_redelivery(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    let sent = Message { headers: every_type(), ..text("order") };
    fixture.send_message(&queue, sent.clone()).await;

    assert_eq!(received(fixture, &queue, true).await, sent);
}

pub(crate) async fn headers_that_are_no_utf8_survive(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    let mut sent = text("order");
    sent.headers.insert("latin", Value::Str(b"caf\xe9"[..].into()));
    sent.headers.insert("bytes", Value::Str(vec![0, 255, 128, 10].into()));
    sent.headers.insert("größe", "name that is no ASCII");
    fixture.send_message(&queue, sent.clone()).await;

    assert_eq!(received(fixture, &queue, false).await, sent);
}

pub(crate) async fn bodies_of_all_sizes_survive(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    for size in [0, 1, 131_064, 131_072, 1 << 20] {
        let body: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect();
        let sent = Message { body: body.into(), ..Message::default() };
        fixture.send_message(&queue, sent.clone()).await;

        assert!(received(fixture, &queue, false).await == sent, "{size} bytes came out otherwise");
    }
}

/// What the queue holds, after it was given back once when asked for.
async fn received(fixture: &Fixture, queue: &es_bus::name::QueueName, give_back: bool) -> Message {
    let mut consumer = fixture.consume(queue, 1).await;
    if give_back {
        assert!(next(&mut consumer).await.settle(Settlement::Requeue));
    }
    let (received, settle) = next(&mut consumer).await.split();
    assert!(settle(Settlement::Ack));
    consumer.close().await;
    let mut message = received.message;
    // Quorum queues add it: from the first delivery on (3.10), or from the second (4.x).
    message.headers.remove("x-delivery-count");
    message
}

fn every_type() -> Headers {
    let nested: Headers = [("region", Value::from("eu")), ("level", Value::I16(-4))].into_iter().collect();
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
        ("text", Value::from("Grüße")),
        ("empty", Value::from("")),
        ("timestamp", Value::Timestamp(1_700_000_000)),
        ("bytes", Value::Bytes(vec![0, 1, 255].into())),
        ("void", Value::Void),
        ("array", Value::Array(vec![Value::I8(1), Value::from("two"), Value::Void])),
        ("table", Value::Table(nested)),
    ]
    .into_iter()
    .collect()
}
