//! An event as a message.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{
    error::EncodeError,
    flat::{Fault, Flat},
    ids::{missing_aggregate_id, wire_id},
    names,
    time::rfc3339,
};
use crate::{
    event::{Event, EventKind, PayloadStyle},
    message::{Headers, Message, Properties, Text, Value},
    metadata::Metadata,
};

/// Writes an event and what is said about it as a message.
///
/// Name, aggregate type and version are the event's own ([`EventKind`]), whatever the metadata says
/// of them. The aggregate id is the metadata's, else the one that the event names. Versions below 1
/// are written as 1. Times are written in microseconds, what is finer is cut off; a float that is
/// infinite or no number is written as null, as serde_json has it. Whatever may differ from one publish to the next (key, exchange, headers and priority of its own) is the
/// caller's to put on the message.
///
/// # Errors
///
/// [`EncodeError`]: fields of the event that cannot stand beside the envelope's, for which
/// `payload = "nested"` is the remedy; a `Serialize` that fails; an empty event id; a time that RFC
/// 3339 has no words for.
pub fn encode<E: Event>(event: &E, metadata: &Metadata) -> Result<Message, EncodeError> {
    let kind = event.kind();
    let ids = Ids::new(event, metadata)?;
    let body = body(event, kind, metadata, &ids)?;
    Ok(Message {
        properties: Properties {
            content_type: Some(Text::Borrowed("application/json")),
            content_encoding: Some(Text::Borrowed("utf-8")),
            persistent: kind.persistent,
            priority: Some(kind.priority.unwrap_or(0)),
            expiration: kind.ttl_ms.map(|ttl| Text::Owned(ttl.min(u64::from(u32::MAX)).to_string())),
            message_id: Some(Text::Owned(ids.event.wire.clone())),
            timestamp: u64::try_from(metadata.occurred_at.unix_timestamp()).ok(),
            ..Properties::default()
        },
        headers: headers(kind, metadata, ids),
        body: Bytes::from(body),
    })
}

fn body<E: Event>(
    event: &E,
    kind: &EventKind,
    metadata: &Metadata,
    ids: &Ids<'_>,
) -> Result<Vec<u8>, EncodeError> {
    let occurred_at = rfc3339(metadata.occurred_at).ok_or(EncodeError::OccurredAt { event: kind.name })?;

    let mut body = Vec::with_capacity(512);
    let mut fault = None;
    write_body(&mut body, event, kind, metadata, ids, &occurred_at, &mut fault).map_err(
        |source| match fault {
            Some(Fault::Reserved(field)) => EncodeError::ReservedField { event: kind.name, field },
            Some(Fault::NotAnObject(found)) => EncodeError::NotAnObject { event: kind.name, found },
            None => EncodeError::Json { event: kind.name, source },
        },
    )?;
    Ok(body)
}

fn write_body<E: Event>(
    body: &mut Vec<u8>,
    event: &E,
    kind: &EventKind,
    metadata: &Metadata,
    ids: &Ids<'_>,
    occurred_at: &str,
    fault: &mut Option<Fault>,
) -> Result<(), serde_json::Error> {
    let mut serializer = serde_json::Serializer::new(body);
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("event_id", &ids.event.wire)?;
    map.serialize_entry("event_type", kind.name)?;
    map.serialize_entry("event_version", &kind.version.max(1))?;
    map.serialize_entry("occurred_at", occurred_at)?;
    map.serialize_entry("aggregate_id", &ids.aggregate.wire)?;
    map.serialize_entry("aggregate_type", kind.aggregate)?;
    map.serialize_entry("aggregate_version", &metadata.aggregate_version.max(1))?;
    map.serialize_entry("tenant_id", &ids.tenant.as_ref().map(|id| &id.wire))?;
    map.serialize_entry("actor_id", &metadata.actor_id)?;
    if let Some(correlation) = &ids.correlation {
        // Python loses a message in which this is null.
        map.serialize_entry("correlation_id", &correlation.wire)?;
    }
    map.serialize_entry("causation_id", &ids.causation.as_ref().map(|id| &id.wire))?;
    map.serialize_entry("metadata", &metadata.metadata)?;
    match kind.payload {
        PayloadStyle::Flat => event.serialize_payload(Flat::new(&mut map, fault))?,
        PayloadStyle::Nested => map.serialize_entry("payload", &Payload(event))?,
    }
    map.end()
}

fn headers(kind: &EventKind, metadata: &Metadata, ids: Ids<'_>) -> Headers {
    let mut headers: Headers = kind.headers.iter().copied().collect();
    headers.insert(names::EVENT_TYPE, kind.name);
    headers.insert(names::AGGREGATE_TYPE, kind.aggregate);
    let version = i64::try_from(metadata.aggregate_version.max(1)).unwrap_or(i64::MAX);
    headers.insert(names::AGGREGATE_VERSION, version);
    headers.insert(names::RETRY_COUNT, 0_i64);
    if ids.aggregate_is_missing {
        headers.insert(names::ES_NO_AGGREGATE_ID, true);
    }
    for (name, original_name, id) in [
        (None, names::ES_EVENT_ID, Some(ids.event)),
        (Some(names::AGGREGATE_ID), names::ES_AGGREGATE_ID, Some(ids.aggregate)),
        (Some(names::TENANT_ID), names::ES_TENANT_ID, ids.tenant),
        (Some(names::CORRELATION_ID), names::ES_CORRELATION_ID, ids.correlation),
        (Some(names::CAUSATION_ID), names::ES_CAUSATION_ID, ids.causation),
    ] {
        let Some(id) = id else { continue };
        if let Some(original) = id.original {
            headers.insert(original_name, &*original);
        }
        if let Some(name) = name {
            headers.insert(name, Value::from(id.wire));
        }
    }
    headers
}

/// An id as it is written.
struct Id<'a> {
    wire: String,
    /// What the publisher said, when it is not what is written.
    original: Option<Cow<'a, str>>,
}

impl<'a> Id<'a> {
    fn new(id: impl Into<Cow<'a, str>>) -> Self {
        let id = id.into();
        let wire = wire_id(&id).to_string();
        let original = (wire != id).then_some(id);
        Self { wire, original }
    }
}

struct Ids<'a> {
    event: Id<'a>,
    aggregate: Id<'a>,
    aggregate_is_missing: bool,
    tenant: Option<Id<'a>>,
    correlation: Option<Id<'a>>,
    causation: Option<Id<'a>>,
}

impl<'a> Ids<'a> {
    fn new<E: Event>(event: &'a E, metadata: &'a Metadata) -> Result<Self, EncodeError> {
        if metadata.event_id.is_empty() {
            return Err(EncodeError::EmptyEventId { event: event.kind().name });
        }
        let event_id = Id::new(metadata.event_id.as_str());
        let aggregate = metadata.aggregate_id.as_deref().map(Cow::Borrowed).or_else(|| event.aggregate_id());
        let aggregate_is_missing = aggregate.is_none();
        Ok(Self {
            aggregate: match aggregate {
                Some(id) => Id::new(id),
                None => Id { wire: missing_aggregate_id(&event_id.wire).to_string(), original: None },
            },
            aggregate_is_missing,
            event: event_id,
            tenant: metadata.tenant_id.as_deref().map(Id::new),
            correlation: metadata.correlation_id.as_deref().map(Id::new),
            causation: metadata.causation_id.as_deref().map(Id::new),
        })
    }
}

/// An event, for a place where a value has to be `Serialize`.
struct Payload<'a, E>(&'a E);

impl<E: Event> Serialize for Payload<'_, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_payload(serializer)
    }
}
