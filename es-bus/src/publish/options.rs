//! One publish with what is said about it.

use std::{fmt, future::IntoFuture, time::Duration};

use serde::Serialize;
use time::OffsetDateTime;

use super::{PublishError, Publisher};
use crate::{event::Event, handler::BoxFuture, message::Value, metadata::Metadata, wire};

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
pub struct Publish<'a, E> {
    publisher: &'a Publisher,
    event: &'a E,
    options: Options,
}

impl<E: Event> fmt::Debug for Publish<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The event, its headers and its metadata may hold what belongs in no log.
        f.debug_struct("Publish")
            .field("routing_key", &self.options.key.as_deref().unwrap_or(&self.event.routing_key()))
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
    pub(super) ttl: Option<Duration>,
    pub(super) headers: Vec<(String, Value)>,
    pub(super) correlation_id: Option<String>,
    pub(super) causation_id: Option<String>,
    pub(super) tenant_id: Option<String>,
    pub(super) actor_id: Option<String>,
    pub(super) metadata: serde_json::Map<String, serde_json::Value>,
    pub(super) invalid: Option<String>,
}

impl<'a, E: Event> Publish<'a, E> {
    pub(super) fn new(publisher: &'a Publisher, event: &'a E) -> Self {
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
        if ttl.as_millis() == 0 || ttl.as_millis() > u128::from(u32::MAX) {
            self.options.invalid =
                Some(format!("a ttl of {ttl:?} cannot be said in AMQP; use 1 ms to 49 days"));
        }
        self.options.ttl = Some(ttl);
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

    /// As part of a process: the handled event's, inside a handler; the event's own id, outside.
    pub fn correlation_id(mut self, correlation_id: impl Into<String>) -> Self {
        self.options.correlation_id = Some(correlation_id.into());
        self
    }

    /// As caused by an event: the handled one, inside a handler; none, outside.
    pub fn causation_id(mut self, causation_id: impl Into<String>) -> Self {
        self.options.causation_id = Some(causation_id.into());
        self
    }

    /// For a tenant; the handled event's, inside a handler.
    pub fn tenant(mut self, tenant_id: impl Into<String>) -> Self {
        self.options.tenant_id = Some(tenant_id.into());
        self
    }

    /// As caused by somebody; the handled event's actor, inside a handler.
    pub fn actor(mut self, actor_id: impl Into<String>) -> Self {
        self.options.actor_id = Some(actor_id.into());
        self
    }

    /// With a word of metadata in the envelope.
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

impl<'a, E: Event> IntoFuture for Publish<'a, E> {
    /// The id that the event was published under.
    type Output = Result<String, PublishError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        // Encoded here, so that the future holds the message and not the event.
        let prepared = self.publisher.prepare(self.event, self.options);
        let publisher = self.publisher;
        Box::pin(async move { publisher.send(prepared?).await })
    }
}

/// The envelope and the message of an event.
pub(super) fn encode<E: Event>(
    event: &E,
    options: Options,
    cause: Option<&Metadata>,
    now: OffsetDateTime,
    new_id: impl FnOnce() -> String,
) -> Result<(Metadata, crate::message::Message), PublishError> {
    if let Some(invalid) = options.invalid {
        return Err(PublishError::Encode(invalid.into()));
    }
    let kind = event.kind();
    let id = options.id.unwrap_or_else(new_id);
    let mut metadata = Metadata::new(id, kind.name.to_owned(), options.occurred_at.unwrap_or(now));
    kind.aggregate.clone_into(&mut metadata.aggregate_type);
    metadata.event_version = kind.version;
    metadata.aggregate_id =
        options.aggregate_id.or_else(|| event.aggregate_id().map(std::borrow::Cow::into_owned));
    metadata.aggregate_version = options.aggregate_version.unwrap_or(1);
    metadata.correlation_id = options
        .correlation_id
        .or_else(|| cause.and_then(|cause| cause.correlation_id.clone()))
        .or_else(|| Some(metadata.event_id.clone()));
    metadata.causation_id = options.causation_id.or_else(|| cause.map(|cause| cause.event_id.clone()));
    metadata.tenant_id = options.tenant_id.or_else(|| cause.and_then(|cause| cause.tenant_id.clone()));
    metadata.actor_id = options.actor_id.or_else(|| cause.and_then(|cause| cause.actor_id.clone()));
    metadata.metadata = options.metadata;
    let mut message = wire::encode(event, &metadata).map_err(|error| PublishError::Encode(error.into()))?;
    if let Some(priority) = options.priority {
        message.properties.priority = Some(priority);
    }
    if let Some(ttl) = options.ttl {
        message.properties.expiration = Some(ttl.as_millis().to_string().into());
    }
    for (name, value) in options.headers {
        if message.headers.get(&name).is_none() {
            message.headers.insert(name, value);
        }
    }
    Ok((metadata, message))
}
