//! What a handler's arguments are made of.
//!
//! An argument is anything that implements [`FromDelivery`]. Exactly one of them is the event: a
//! type marked `#[event]`, [`Envelope`] or [`RawEvent`]; the others say what else the handler needs.

mod attempt;
mod envelope;
mod lease;
mod metadata;
mod raw;
mod state;

use std::{any::TypeId, future::Future};

pub use self::{envelope::Envelope, lease::Lease, metadata::Delivered, raw::RawEvent, state::State};
use crate::{event::EventKind, handler::Invocation, outcome::HandlerError};

/// What can be an argument of a handler.
///
/// Implement it for a type of your own to hand it to handlers: a transaction, a tenant, a client
/// made for the event. Extraction may wait; what must happen once the handler's outcome is known
/// is registered with [`Invocation::on_outcome`].
///
/// An error of an extractor is an error of the handler: retried, rejected or dropped as it says.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a handler",
    label = "neither an event nor an extractor",
    note = "a handler takes one event (a type marked `#[event]`, `Envelope<T>` or `RawEvent`) and any number of extractors: `State<T>`, `Metadata`, `Delivered`, `Attempt`, `Publisher`",
    note = "for shared state write `State(value): State<{Self}>`; for an event mark the type `#[event(aggregate = \"...\")]`; for your own extractor implement `es_bus::FromDelivery`"
)]
pub trait FromDelivery: Sized + Send {
    /// Whether the argument is the event, and which.
    const INPUT: Input = Input::Side;

    /// What has to be provided before the program may start.
    fn needs(needs: &mut Vec<Need>) {
        let _ = needs;
    }

    /// Makes the argument.
    ///
    /// # Errors
    ///
    /// The error is the handler's outcome; its verdict says what happens to the event.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped at the handler's timeout and when the process ends; completions that
    /// were registered before run in the first case.
    fn from_delivery(invocation: &Invocation) -> impl Future<Output = Result<Self, HandlerError>> + Send;
}

/// What an argument is to its handler.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// The event: one of these kinds.
    Event {
        /// The name of the argument's event type, for messages.
        name: &'static str,
        /// The events that it can be.
        kinds: &'static [EventKind],
    },
    /// The event, whatever it is.
    Raw,
    /// Something else.
    Side,
}

/// A value that a handler needs and that only the program can provide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Which type.
    pub id: TypeId,
    /// Its name, for people.
    pub type_name: &'static str,
}
