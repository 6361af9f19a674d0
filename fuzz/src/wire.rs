//! Bodies: read as events of every shape, written again, and read as the same.

use std::fmt::Debug;

use bytes::Bytes;
use es_bus::{
    Event, Metadata, event,
    event::EventKind,
    message::{Message, Received},
    wire::{decode, decode_metadata, encode, lane, origin},
};
use serde::{Deserialize, Serialize};

use super::input::{Input, QUEUE};

#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
    total: i64,
    #[serde(default)]
    lines: Vec<Line>,
    note: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    product: String,
    count: u8,
}

#[event(aggregate = "Order", payload = "nested")]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct OrderNoted {
    event_id: String,
    notes: Vec<Option<bool>>,
}

#[event(aggregate = "Order")]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderClosed {
    reason: Option<char>,
}

#[event(aggregate = "Order")]
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum OrderEvent {
    Shipped { carrier: String },
    Lost,
    Closed(OrderClosed),
}

/// The first byte says whether headers come before the body.
pub fn wire(data: &[u8]) {
    let mut input = Input::new(data);
    let mut received = match input.byte() {
        b'h' => input.received(),
        _ => Received {
            message: Message::default(),
            exchange: "events".to_owned(),
            routing_key: "Order.OrderPlaced".to_owned(),
            redelivered: false,
        },
    };
    received.message.body = Bytes::copy_from_slice(input.rest());
    let _ = (origin(&received, QUEUE), lane(&received));
    match decode_metadata(&received) {
        Ok(metadata) => assert!(metadata.event_version >= 1 && metadata.aggregate_version >= 1),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    of::<OrderPlaced>(&received);
    of::<OrderNoted>(&received);
    of::<OrderClosed>(&received);
    of::<OrderEvent>(&received);
}

/// What can be read is written so that it is read again, and from then on nothing changes.
fn of<E: Event + PartialEq + Debug>(received: &Received) {
    for kind in E::KINDS {
        let Ok((metadata, event)) = decode::<E>(received, kind) else { continue };
        // A year that RFC 3339 has no words for; an id of nothing.
        let Ok(message) = encode(&event, &metadata) else { continue };
        let (metadata_2, event_2) = again::<E>(message, event.kind());
        assert_eq!(event, event_2);
        assert_eq!(metadata.event_id, metadata_2.event_id);
        let message_2 = encode(&event_2, &metadata_2).expect("it was written before");
        let (metadata_3, event_3) = again::<E>(message_2, event_2.kind());
        assert_eq!(event_2, event_3);
        assert_eq!(without_numbers(metadata_2), without_numbers(metadata_3));
    }
}

fn again<E: Event>(message: Message, kind: &'static EventKind) -> (Metadata, E) {
    let received = Received {
        message,
        exchange: "events".to_owned(),
        routing_key: kind.key.to_owned(),
        redelivered: false,
    };
    assert_eq!(origin(&received, QUEUE).event_type.as_deref(), Some(kind.name));
    decode::<E>(&received, kind).expect("what is written can be read")
}

/// Floats in what a publisher adds may lose their last digit on the way, as JSON has it.
fn without_numbers(mut metadata: Metadata) -> Metadata {
    metadata.metadata.retain(|_, value| !value.to_string().contains(|c: char| c.is_ascii_digit()));
    metadata
}
