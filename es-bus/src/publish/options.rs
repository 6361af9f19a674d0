//! One publish with what is said about it.

use std::{
    borrow::Cow,
    fmt,
    future::{IntoFuture, ready},
    time::Duration,
};

use serde::Serialize;
use time::OffsetDateTime;

use super::{
    AnyEvent, Prepared, PublishError, PublishHandle, Publisher, lane, lanes::Lane, publisher::Patience,
};
use crate::{
    handler::BoxFuture,
    message::{Message, Value},
    metadata::Metadata,
    scope, wire,
};

/// An event on its way: `.await` it to publish, after saying whatever else is to be said.
///
/// # Examples
///
/// ```
/// # use es_bus::{event::Event, Publisher, PublishError};
/// # async fn example<E: Event>(publisher: &Publisher, event: &E) -> Result<(), PublishError> {
/// let id = publisher.publish(event).aggregate_version(7).tenant("acme").header("region", "eu").await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is published until this is awaited"]
pub struct Publish<'a> {
    publisher: &'a Publisher,
    event: &'a dyn AnyEvent,
    options: Options,
}

impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The event, its headers and its metadata may hold what belongs in no log.
        f.debug_struct("Publish")
            .field("routing_key", &self.options.key.as_deref().unwrap_or(&self.event.any_routing_key()))
            .field("id", &self.options.id)
            .finish_non_exhaustive()
    }
}

/// What can be said of one publish.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) key: Option<String>,
    pub(super) id: Option<String>,
    pub(super) occurred_at: Option<OffsetDateTime>,
    pub(super) aggregate_id: Option<String>,
    pub(super) aggregate_version: Option<u64>,
    pub(super) priority: Option<u8>,
    pub(super) ttl_ms: Option<String>,
    pub(super) headers: Vec<(String, Value)>,
    pub(super) correlation_id: Option<String>,
    pub(super) causation_id: Option<String>,
    pub(super) tenant_id: Option<String>,
    pub(super) actor_id: Option<String>,
    pub(super) metadata: serde_json::Map<String, serde_json::Value>,
    pub(super) invalid: Option<String>,
}

impl<'a> Publish<'a> {
    pub(super) fn new(publisher: &'a Publisher, event: &'a dyn AnyEvent) -> Self {
        Self { publisher, event, options: Options::default() }
    }

    /// With another routing key than the event's own.
    pub fn key(mut self, routing_key: impl Into<String>) -> Self {
        self.options.key = Some(routing_key.into());
        self
    }

    /// With an id of its own: an event that is published again under its id is a duplicate that
    /// consumers can tell. Any text will do; one that is no UUID travels as a UUID derived from it.
    pub fn id(mut self, event_id: impl Into<String>) -> Self {
        self.options.id = Some(event_id.into());
        self
    }

    /// With the time at which it happened; now, when not said.
    pub fn occurred_at(mut self, occurred_at: OffsetDateTime) -> Self {
        self.options.occurred_at = Some(occurred_at);
        self
    }

    /// With the id of its aggregate; the field that `#[event(aggregate_id = ..)]` names, when not
    /// said.
    pub fn aggregate_id(mut self, aggregate_id: impl fmt::Display) -> Self {
        self.options.aggregate_id = Some(aggregate_id.to_string());
        self
    }

    /// With the version of its aggregate, from 1.
    pub fn aggregate_version(mut self, version: u64) -> Self {
        if version == 0 {
            self.options.invalid = Some("aggregate versions count from 1, 0 was given".to_owned());
        }
        self.options.aggregate_version = Some(version);
        self
    }

    /// With a priority, for queues that declare one.
    pub fn priority(mut self, priority: u8) -> Self {
        self.options.priority = Some(priority);
        self
    }

    /// With a limit to how long it may wait in a queue, in whole milliseconds; at least one, and at
    /// most the 49 days that AMQP can say.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        match check_ttl(ttl) {
            Ok(ms) => self.options.ttl_ms = Some(ms),
            Err(invalid) => self.options.invalid = Some(invalid),
        }
        self
    }

    /// With a header. Names that es-bus writes itself are refused when the event is published.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let name = name.into();
        if wire::names::is_own(&name) {
            self.options.invalid = Some(format!("header {name:?} is written by es-bus; choose another name"));
        }
        self.options.headers.push((name, value.into()));
        self
    }

    /// As part of a process. When not said: the handled event's, inside a handler; that of the
    /// [`scope`](crate::scope()); else the event's own id.
    pub fn correlation_id(mut self, correlation_id: impl Into<String>) -> Self {
        self.options.correlation_id = Some(correlation_id.into());
        self
    }

    /// As caused by an event. When not said: the handled one, inside a handler; that of the scope.
    pub fn causation_id(mut self, causation_id: impl Into<String>) -> Self {
        self.options.causation_id = Some(causation_id.into());
        self
    }

    /// For a tenant. When not said: the handled event's, inside a handler; that of the scope.
    pub fn tenant(mut self, tenant_id: impl Into<String>) -> Self {
        self.options.tenant_id = Some(tenant_id.into());
        self
    }

    /// As caused by somebody. When not said: the handled event's actor, inside a handler; that of
    /// the scope.
    pub fn actor(mut self, actor_id: impl Into<String>) -> Self {
        self.options.actor_id = Some(actor_id.into());
        self
    }

    /// With a word of metadata in the envelope, beside those of the scope.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match serde_json::to_value(value) {
            Ok(value) => {
                self.options.metadata.insert(name, value);
            }
            Err(error) => self.options.invalid = Some(format!("metadata {name:?} is no JSON value: {error}")),
        }
        self
    }
}

impl Publish<'_> {
    /// Publishes the event while the caller does something else.
    ///
    /// Waits for nothing but room: `publish_background` events may be on their way at once. The
    /// handle can be awaited for the confirm, or dropped.
    ///
    /// Events of one aggregate that are published in the background go out in the order in which
    /// these calls return; one that is published otherwise may overtake them. A lost connection
    /// delays an event for as long as the bus runs: it is sent again under the same id. The bus
    /// waits for the rest when it stops, within `shutdown_timeout`.
    ///
    /// # Errors
    ///
    /// [`PublishError::Backlog`] when there is no room within `publish_timeout`: the broker does not
    /// keep up, or is not there. [`PublishError::Closed`] after the bus was stopped, and whatever can
    /// be wrong with the event itself. The event was not taken then.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, it has not taken the event. Killed, a process loses the events
    /// that the broker has not confirmed: what must not be lost is published with `.await`.
    pub async fn in_background(self) -> Result<PublishHandle, PublishError> {
        let (publisher, lane) = (self.publisher, self.lane());
        publisher.enter(lane, self.prepare()?).await
    }

    /// The lane of the event's aggregate.
    pub(super) fn lane(&self) -> Lane {
        lane_of(self.event, self.options.aggregate_id.as_deref())
    }

    /// The event as it goes out; nothing of the event itself is held any more.
    pub(super) fn prepare(self) -> Result<Prepared, PublishError> {
        self.publisher.prepare(self.event, self.options)
    }
}

impl<'a> IntoFuture for Publish<'a> {
    /// The id that the event was published under.
    type Output = Result<String, PublishError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        // Encoded here, so that the future holds the message and not the event.
        let publisher = self.publisher;
        match self.prepare() {
            Ok(mut prepared) => Box::pin(async move {
                publisher.send(&mut prepared, Patience::Once).await?;
                Ok(prepared.event_id)
            }),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }
}

/// The lane of the aggregate that is given, or else of the one that the event names.
pub(super) fn lane_of(event: &dyn AnyEvent, aggregate_id: Option<&str>) -> Lane {
    let aggregate = event.any_kind().aggregate;
    match aggregate_id {
        Some(id) => Some(lane(aggregate, id)),
        None => event.any_aggregate_id().map(|id| lane(aggregate, &id)),
    }
}

/// How long a message may wait in a queue, as AMQP says it.
pub(super) fn check_ttl(ttl: Duration) -> Result<String, String> {
    match ttl.as_millis() {
        ms @ 1.. if ms <= u128::from(u32::MAX) => Ok(ms.to_string()),
        _ => Err(format!("a ttl of {ttl:?} cannot be said in AMQP; use 1 ms to 49 days")),
    }
}

/// The envelope and the message of an event.
///
/// What is said of the event comes first, then what the publisher knows of its cause, then what is
/// said where it is published.
pub(super) fn encode(
    event: &dyn AnyEvent,
    options: Options,
    cause: Option<&Metadata>,
    now: OffsetDateTime,
    new_id: impl FnOnce() -> String,
) -> Result<(Metadata, Message), PublishError> {
    let around = scope::current();
    let around = around.as_deref();
    if let Some(invalid) = options.invalid.or_else(|| around?.invalid.clone()) {
        return Err(PublishError::Encode(invalid.into()));
    }
    let id = options.id.unwrap_or_else(new_id);
    // Its type, aggregate and version the event says itself, whatever stands here.
    let mut metadata = Metadata::new(id, String::new(), options.occurred_at.unwrap_or(now));
    metadata.aggregate_id = match (options.aggregate_id, event.any_aggregate_id()) {
        (Some(id), _) | (None, Some(Cow::Owned(id))) => Some(id),
        // The event says it again where it is written, for nothing.
        (None, Some(Cow::Borrowed(_)) | None) => None,
    };
    metadata.aggregate_version = options.aggregate_version.unwrap_or(1);
    metadata.correlation_id = options
        .correlation_id
        .or_else(|| cause?.correlation_id.clone())
        .or_else(|| around?.correlation_id.clone())
        .or_else(|| Some(metadata.event_id.clone()));
    metadata.causation_id = options
        .causation_id
        // A message of another system may have no id.
        .or_else(|| Some(&cause?.event_id).filter(|id| !id.is_empty()).cloned())
        .or_else(|| around?.causation_id.clone());
    metadata.tenant_id =
        options.tenant_id.or_else(|| cause?.tenant_id.clone()).or_else(|| around?.tenant_id.clone());
    metadata.actor_id =
        options.actor_id.or_else(|| cause?.actor_id.clone()).or_else(|| around?.actor_id.clone());
    metadata.metadata = options.metadata;
    for (name, value) in around.iter().flat_map(|around| &around.metadata) {
        if !metadata.metadata.contains_key(name) {
            metadata.metadata.insert(name.clone(), value.clone());
        }
    }
    let mut message = event.any_encode(&metadata).map_err(|error| PublishError::Encode(error.into()))?;
    if let Some(priority) = options.priority {
        message.properties.priority = Some(priority);
    }
    if let Some(ttl_ms) = options.ttl_ms {
        message.properties.expiration = Some(ttl_ms.into());
    }
    for (name, value) in options.headers {
        if message.headers.get(&name).is_none() {
            message.headers.insert(name, value);
        }
    }
    Ok((metadata, message))
}
