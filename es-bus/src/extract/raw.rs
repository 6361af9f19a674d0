//! An event that nobody has decoded.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{FromDelivery, Input};
use crate::{handler::Invocation, message::Received, outcome::HandlerError};

/// An event as its bytes: for audit logs, bridges, and events that this program does not define.
///
/// A handler that takes one says with `bind` which events it wants.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RawEvent {
    /// The event type that the message claims, when it claims one.
    pub event_type: Option<String>,
    /// The routing key that it was first published with.
    pub routing_key: String,
    /// The exchange that it was first published to.
    pub exchange: String,
    /// The message as the broker delivered it.
    pub received: Received,
}

impl RawEvent {
    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.received.message.body
    }

    /// The body read as JSON; the fields of the envelope stand beside the event's own.
    ///
    /// # Errors
    ///
    /// What `serde_json` finds wrong; returned from a handler with `?` it is retried, so make it
    /// [`HandlerError::undecodable`] when that cannot help.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(self.body())
    }
}

impl FromDelivery for RawEvent {
    const INPUT: Input = Input::Raw;

    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        let delivery = invocation.delivery();
        let origin = delivery.origin().clone();
        Ok(Self {
            event_type: origin.event_type,
            routing_key: origin.routing_key,
            exchange: origin.exchange,
            received: delivery.received().clone(),
        })
    }
}
