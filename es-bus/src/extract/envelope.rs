//! An event with its envelope.

use std::ops::Deref;

use super::{FromDelivery, Input};
use crate::{event::Event, handler::Invocation, metadata::Metadata, outcome::HandlerError};

/// An event together with its [`Metadata`].
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope<E> {
    /// Ids, times, who and why.
    pub metadata: Metadata,
    /// The event.
    pub event: E,
}

impl<E> Deref for Envelope<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.event
    }
}

impl<E: Event> FromDelivery for Envelope<E> {
    const INPUT: Input = Input::Event { name: E::TYPE_NAME, kinds: E::KINDS };

    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        let event = invocation.decode::<E>()?;
        Ok(Self { metadata: invocation.metadata()?, event })
    }
}
