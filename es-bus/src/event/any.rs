//! An event whose type is not known where it is published.

use std::borrow::Cow;

use crate::{
    event::{Event, EventKind},
    message::Message,
    metadata::Metadata,
    wire::{self, EncodeError},
};

/// Any event: for lists that hold events of several types. Every [`Event`] is one.
///
/// # Examples
///
/// An aggregate that gathers what has happened to it:
///
/// ```
/// # use es_bus::{event::Event, publish::AnyEvent, Publisher, PublishReport};
/// # async fn example<A: Event, B: Event>(publisher: &Publisher, placed: A, shipped: B) -> Result<(), PublishReport> {
/// let mut happened: Vec<Box<dyn AnyEvent>> = Vec::new();
/// happened.push(Box::new(placed));
/// happened.push(Box::new(shipped));
///
/// publisher.publish_all(&happened).await.into_result()?;
/// # Ok(())
/// # }
/// ```
pub trait AnyEvent: Send + Sync {
    /// Which event it is.
    fn any_kind(&self) -> &'static EventKind;

    /// The key that it is published with.
    fn any_routing_key(&self) -> Cow<'static, str>;

    /// The aggregate that it happened to, when it names the field.
    fn any_aggregate_id(&self) -> Option<Cow<'_, str>>;

    /// Its message.
    ///
    /// # Errors
    ///
    /// As [`wire::encode`].
    fn any_encode(&self, metadata: &Metadata) -> Result<Message, EncodeError>;
}

impl<E: Event> AnyEvent for E {
    fn any_kind(&self) -> &'static EventKind {
        self.kind()
    }

    fn any_routing_key(&self) -> Cow<'static, str> {
        self.routing_key()
    }

    fn any_aggregate_id(&self) -> Option<Cow<'_, str>> {
        self.aggregate_id()
    }

    fn any_encode(&self, metadata: &Metadata) -> Result<Message, EncodeError> {
        wire::encode(self, metadata)
    }
}
