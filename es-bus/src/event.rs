//! What an event is: a value with a type, an aggregate and a routing key.
//!
//! `#[event]` implements [`Event`] for a struct (one event) or for an enum (an *event set*); what it
//! has to say about each event is an [`EventKind`], plain data that the registry, the publisher and
//! the dispatcher read.

mod any;

use std::{borrow::Cow, time::Duration};

use serde::{Deserializer, Serializer};

pub use self::any::AnyEvent;
use crate::{exchange::ExchangeDef, message::StaticValue, topic};

/// An event, or a set of events of which a value is one. Implemented by `#[event]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "this type has no routing key",
    note = "mark the type with `#[event(aggregate = \"...\")]`",
    note = "a variant with one unnamed field wraps an `#[event]` type; give the field a name to declare the event in the set"
)]
pub trait Event: Sized + Send + Sync + 'static {
    /// What messages of the compiler call the type.
    const TYPE_NAME: &'static str = "the event";

    /// The events that a value of this type can be: one for a struct, one per variant for a set.
    const KINDS: &'static [EventKind];

    /// Which of [`Self::KINDS`] this value is.
    fn kind(&self) -> &'static EventKind;

    /// The key that this value is published with: that of its kind, with the value's own words in place of the
    /// fields in it.
    fn routing_key(&self) -> Cow<'static, str> {
        Cow::Borrowed(self.kind().key)
    }

    /// The id of the aggregate that the event happened to, when the event names the field.
    fn aggregate_id(&self) -> Option<Cow<'_, str>> {
        None
    }

    /// Writes the event's own fields.
    ///
    /// # Errors
    ///
    /// Whatever the serializer or the type's `Serialize` refuses.
    fn serialize_payload<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Reads the event's own fields, for the event named `name` (its [`EventKind::name`]).
    ///
    /// # Errors
    ///
    /// Whatever the type's `Deserialize` refuses, and a name that is not one of [`Self::KINDS`].
    fn deserialize_payload<'de, D: Deserializer<'de>>(name: &str, deserializer: D) -> Result<Self, D::Error>;
}

/// What is known of an event before any value of it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventKind {
    /// The event type, as messages name it: `OrderPlaced`.
    pub name: &'static str,
    /// The type of the aggregate that it happens to: `Order`.
    pub aggregate: &'static str,
    /// The routing key: `Order.OrderPlaced`. A word that each message takes from a field is `*`: what binds all
    /// of them, `order.created.*`.
    pub key: &'static str,
    /// The version of the event's schema, from 1.
    pub version: u32,
    /// The exchange that it is published to; the bus's default exchange when not said.
    pub exchange: Option<&'static str>,
    /// The definition of that exchange, when it is named by a type marked `#[exchange]`.
    pub exchange_def: Option<&'static ExchangeDef>,
    /// Where the event's own fields stand in the body.
    pub payload: PayloadStyle,
    /// Whether the broker keeps the message on disk.
    pub persistent: bool,
    /// The priority of its messages.
    pub priority: Option<u8>,
    /// How long a message may wait in a queue, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// What an unroutable message means.
    pub unroutable: Unroutable,
    /// Headers that every message of this event carries.
    pub headers: &'static [(&'static str, StaticValue)],
    /// Whether the key has a `*`: asked at each publish.
    pub(crate) has_fields: bool,
}

impl EventKind {
    /// An event with the defaults for all that is not said.
    #[must_use]
    pub const fn new(name: &'static str, aggregate: &'static str, key: &'static str) -> Self {
        Self {
            name,
            aggregate,
            key,
            version: 1,
            exchange: None,
            exchange_def: None,
            payload: PayloadStyle::Flat,
            persistent: true,
            priority: None,
            ttl_ms: None,
            unroutable: Unroutable::Known,
            headers: &[],
            has_fields: topic::is_pattern(key),
        }
    }

    /// With a schema version.
    #[must_use]
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// With an exchange of its own.
    #[must_use]
    pub const fn exchange(mut self, exchange: &'static str) -> Self {
        self.exchange = Some(exchange);
        self
    }

    /// With an exchange of its own, named by its type.
    #[must_use]
    pub const fn on(mut self, exchange: &'static ExchangeDef) -> Self {
        self.exchange = Some(exchange.name);
        self.exchange_def = Some(exchange);
        self
    }

    /// With its fields under `payload` instead of beside the envelope's.
    #[must_use]
    pub const fn nested(mut self) -> Self {
        self.payload = PayloadStyle::Nested;
        self
    }

    /// Not kept on disk.
    #[must_use]
    pub const fn transient(mut self) -> Self {
        self.persistent = false;
        self
    }

    /// With a priority.
    #[must_use]
    pub const fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// With a message TTL in milliseconds.
    #[must_use]
    pub const fn ttl_ms(mut self, ttl_ms: u64) -> Self {
        self.ttl_ms = Some(ttl_ms);
        self
    }

    /// With a meaning for unroutable messages.
    #[must_use]
    pub const fn unroutable(mut self, unroutable: Unroutable) -> Self {
        self.unroutable = unroutable;
        self
    }

    /// With headers on every message.
    #[must_use]
    pub const fn headers(mut self, headers: &'static [(&'static str, StaticValue)]) -> Self {
        self.headers = headers;
        self
    }

    /// Whether words of its routing key are taken from fields.
    #[must_use]
    pub const fn has_fields(&self) -> bool {
        self.has_fields
    }

    /// Whether its messages may have this routing key.
    #[must_use]
    pub(crate) fn has_key(&self, routing_key: &str) -> bool {
        if self.has_fields { topic::matches(self.key, routing_key) } else { self.key == routing_key }
    }

    /// Whether a message is one of this event: told by the type that it claims, and of what aggregate where it says
    /// that, or by its routing key where it claims none.
    #[must_use]
    pub(crate) fn is_claimed(
        &self,
        event_type: Option<&str>,
        aggregate_type: Option<&str>,
        routing_key: &str,
    ) -> bool {
        match event_type {
            Some(name) => self.name == name && aggregate_type.is_none_or(|of| of == self.aggregate),
            None => self.has_key(routing_key),
        }
    }

    /// Whether its own headers tell it apart on a headers exchange, which does not look at those that
    /// begin with `x-`.
    #[must_use]
    pub const fn selects_itself(&self) -> bool {
        let mut i = 0;
        while i < self.headers.len() {
            let name = self.headers[i].0.as_bytes();
            if !(name.len() > 1 && name[0] == b'x' && name[1] == b'-') {
                return true;
            }
            i += 1;
        }
        false
    }

    /// The message TTL.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl_ms.map(Duration::from_millis)
    }
}

/// Where an event's own fields stand in the body of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadStyle {
    /// Beside the fields of the envelope, as eventsource-py writes them.
    Flat,
    /// As one value under `payload`: for payloads that are no JSON object, or whose fields have
    /// the names of the envelope's.
    Nested,
}

/// What it means when a published event reaches no queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unroutable {
    /// An error when this program knows a group that is bound to the key; else counted, with one
    /// warning per key.
    Known,
    /// Always an error.
    Mandatory,
    /// Never an error.
    Optional,
}
