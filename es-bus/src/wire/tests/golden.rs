//! What eventsource-py was captured sending: written to the byte, read with all it says.

use bytes::Bytes;
use time::macros::datetime;

use crate::{
    event::Event,
    message::{Message, Value},
    metadata::Metadata,
    wire::{
        FailureInfo, HandlerAttempt, Source, decode, decode_metadata, encode, header_frame_len, names,
        origin,
        testing::{BODY, DEAD_LETTERED, OrderPlaced, PUBLISHED, REPLAYED, RETRIED, captured, received},
    },
};

fn order() -> OrderPlaced {
    OrderPlaced { customer_id: "cust-123".to_owned(), total_amount: 99.99 }
}

fn metadata() -> Metadata {
    Metadata {
        event_id: "11111111-1111-4111-8111-111111111111".to_owned(),
        event_type: "OrderPlaced".to_owned(),
        event_version: 1,
        occurred_at: datetime!(2026-01-02 03:04:05.678901 UTC),
        aggregate_id: Some("22222222-2222-4222-8222-222222222222".to_owned()),
        aggregate_type: "Order".to_owned(),
        aggregate_version: 1,
        tenant_id: None,
        actor_id: None,
        correlation_id: Some("33333333-3333-4333-8333-333333333333".to_owned()),
        causation_id: None,
        metadata: serde_json::Map::new(),
    }
}

#[test]
fn writes_the_captured_message() {
    let message = encode(&order(), &metadata()).unwrap();

    assert_eq!(message.body, Bytes::from_static(BODY.as_bytes()));
    assert_eq!(message, captured(PUBLISHED));
    assert_eq!(message.headers.get("aggregate_version"), Some(&Value::I8(1)));
    assert_eq!(message.headers.get("x-retry-count"), Some(&Value::I8(0)));
}

#[test]
fn reads_every_captured_message() {
    for (frame, replayed) in [(PUBLISHED, false), (RETRIED, false), (DEAD_LETTERED, false), (REPLAYED, true)]
    {
        let received = received(captured(frame));

        let (read, event) = decode::<OrderPlaced>(&received, &OrderPlaced::KINDS[0]).unwrap();

        assert_eq!(event, order());
        assert_eq!(read, metadata());
        assert_eq!(decode_metadata(&received).unwrap(), metadata());
        let origin = origin(&received, "cap.b64bb5.g1");
        assert_eq!(origin.event_type.as_deref(), Some("OrderPlaced"));
        assert_eq!(origin.routing_key, "Order.OrderPlaced");
        assert_eq!(origin.replayed, replayed);
    }
}

#[test]
fn measures_a_frame_as_it_is_sent() {
    for frame in [PUBLISHED, RETRIED, DEAD_LETTERED, REPLAYED] {
        assert_eq!(header_frame_len(&captured(frame)), frame.len() / 2);
    }
}

/// What a Python tool reads of our copies: the seed's headers, with the seed's values and types.
#[test]
fn copies_say_in_the_seeds_headers_what_the_seed_says() {
    let failure = FailureInfo {
        reason: "handler_error",
        error_type: "ValueError",
        text: "boom: ünïcode\nline2".into(),
    };
    let handlers = [HandlerAttempt { handler: "project".to_owned(), attempt: 1, due_ms: None }];
    let seeds_only = |mut message: Message| {
        message.headers.retain(|name, _| !name.starts_with("x-es-") && name != names::ES_DELAY);
        message
    };
    let queue = "cap.b64bb5.g1";
    let published = received(captured(PUBLISHED));

    let now = datetime!(2026-11-21 08:44:55.895695 UTC);
    let origin_of = |received: &_| origin(received, queue);
    let at = origin_of(&published);
    let retry =
        Source { received: &published, origin: &at, queue, now }.retry(&handlers, "1s", 1000, &failure, "p1");
    let retried = received(retry.clone());
    let at = origin_of(&retried);
    let now = datetime!(2026-11-21 08:44:55.899049 UTC);
    let dead = Source { received: &retried, origin: &at, queue, now }.dead_letter(
        Some("project"),
        1,
        &failure,
        "d1",
        "p2",
    );

    let mut expected = captured(RETRIED);
    // More of the first message is kept than the seed keeps, and the key is told from the start.
    expected.properties.timestamp = published.message.properties.timestamp;
    expected.properties.expiration = Some("1000".into());
    expected.headers.insert(names::ORIGINAL_ROUTING_KEY, "Order.OrderPlaced");
    assert_eq!(seeds_only(retry), expected);

    let mut expected = captured(DEAD_LETTERED);
    expected.properties.timestamp = published.message.properties.timestamp;
    assert_eq!(seeds_only(dead), expected);
}
