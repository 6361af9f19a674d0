//! The envelope, and how the event came here.

use super::FromDelivery;
use crate::{handler::Invocation, message::Headers, metadata::Metadata, outcome::HandlerError};

impl FromDelivery for Metadata {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        invocation.metadata()
    }
}

/// How an event came to this handler: queue, exchange, key, headers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Delivered {
    /// The queue that it came from.
    pub queue: String,
    /// The group whose queue that is.
    pub group: String,
    /// The handler that runs.
    pub handler: String,
    /// The exchange that the event was first published to.
    pub exchange: String,
    /// The routing key that it was first published with.
    pub routing_key: String,
    /// The headers of the message.
    pub headers: Headers,
    /// Whether the broker has handed this message out before.
    pub redelivered: bool,
    /// Whether the event was replayed from a dead-letter queue.
    pub replayed: bool,
}

impl FromDelivery for Delivered {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        let delivery = invocation.delivery();
        let origin = delivery.origin().clone();
        Ok(Self {
            queue: delivery.queue().to_owned(),
            group: delivery.group().to_owned(),
            handler: invocation.handler().to_owned(),
            exchange: origin.exchange,
            routing_key: origin.routing_key,
            headers: delivery.received().message.headers.clone(),
            redelivered: delivery.received().redelivered,
            replayed: origin.replayed,
        })
    }
}
