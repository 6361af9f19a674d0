//! An event as a message.

use std::{borrow::Cow, cell::Cell};

use bytes::Bytes;
use serde::{Serializer, ser::SerializeMap};
use uuid::{Uuid, fmt::Hyphenated};

use super::{
    error::EncodeError,
    flat::{Fault, Flat},
    ids::{missing_aggregate_id, wire_id},
    names,
    time::write_rfc3339,
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
/// infinite or no number is written as null, as serde_json has it. Whatever may differ from one publish
/// to the next (key, exchange, headers and priority of its own) is the caller's to put on the message.
///
/// # Errors
///
/// [`EncodeError`]: fields of the event that cannot stand beside the envelope's, for which
/// `payload = "nested"` is the remedy; a `Serialize` that fails; an empty event id; a time that RFC
/// 3339 has no words for.
pub fn encode<E: Event>(event: &E, metadata: &Metadata) -> Result<Message, EncodeError> {
    let kind = event.kind();
    let ids = Ids::new(event, metadata)?;
    let body = Body::of(event, kind, metadata, &ids)?;
    let headers = headers(kind, metadata, &ids, &body);
    Ok(Message {
        properties: Properties {
            content_type: Some(Text::Borrowed("application/json")),
            content_encoding: Some(Text::Borrowed("utf-8")),
            persistent: kind.persistent,
            priority: Some(kind.priority.unwrap_or(0)),
            expiration: kind.ttl_ms.map(|ttl| Text::Owned(ttl.min(u64::from(u32::MAX)).to_string())),
            message_id: Some(Text::Owned(ids.event.text().to_owned())),
            timestamp: u64::try_from(metadata.occurred_at.unix_timestamp()).ok(),
            ..Properties::default()
        },
        headers,
        body: body.bytes,
    })
}

/// A body, and where in it ids stand that are headers too: those are parts of it, and no copies.
struct Body {
    bytes: Bytes,
    aggregate_id: usize,
    tenant_id: Option<usize>,
    correlation_id: Option<usize>,
    causation_id: Option<usize>,
}

impl Body {
    /// Writes the envelope, then the event straight behind it.
    fn of<E: Event>(
        event: &E,
        kind: &EventKind,
        metadata: &Metadata,
        ids: &Ids<'_>,
    ) -> Result<Self, EncodeError> {
        let mut json = Vec::with_capacity(LAST_LEN.get());
        let failed = |source| EncodeError::Json { event: kind.name, source };

        json.extend_from_slice(br#"{"event_id":""#);
        write_id(&mut json, &ids.event);
        json.extend_from_slice(br#"","event_type":"#);
        serde_json::to_writer(&mut json, kind.name).map_err(failed)?;
        json.extend_from_slice(br#","event_version":"#);
        serde_json::to_writer(&mut json, &kind.version.max(1)).map_err(failed)?;
        json.extend_from_slice(br#","occurred_at":""#);
        write_rfc3339(&mut json, metadata.occurred_at).ok_or(EncodeError::OccurredAt { event: kind.name })?;
        json.extend_from_slice(br#"","aggregate_id":""#);
        let aggregate_id = write_id(&mut json, &ids.aggregate);
        json.extend_from_slice(br#"","aggregate_type":"#);
        serde_json::to_writer(&mut json, kind.aggregate).map_err(failed)?;
        json.extend_from_slice(br#","aggregate_version":"#);
        serde_json::to_writer(&mut json, &metadata.aggregate_version.max(1)).map_err(failed)?;
        json.extend_from_slice(br#","tenant_id":"#);
        let tenant_id = write_optional_id(&mut json, ids.tenant.as_ref());
        json.extend_from_slice(br#","actor_id":"#);
        serde_json::to_writer(&mut json, &metadata.actor_id).map_err(failed)?;
        let correlation_id = ids.correlation.as_ref().and_then(|correlation| {
            // Python loses a message in which this is null.
            json.extend_from_slice(br#","correlation_id":"#);
            write_optional_id(&mut json, Some(correlation))
        });
        json.extend_from_slice(br#","causation_id":"#);
        let causation_id = write_optional_id(&mut json, ids.causation.as_ref());
        json.extend_from_slice(br#","metadata":"#);
        serde_json::to_writer(&mut json, &metadata.metadata).map_err(failed)?;
        match kind.payload {
            PayloadStyle::Flat => write_flat(&mut json, event, kind)?,
            PayloadStyle::Nested => {
                json.extend_from_slice(br#","payload":"#);
                event.serialize_payload(&mut serde_json::Serializer::new(&mut json)).map_err(failed)?;
                json.push(b'}');
            }
        }

        LAST_LEN.set(json.len().clamp(MIN_LEN, MAX_LEN));
        Ok(Self { bytes: Bytes::from(json), aggregate_id, tenant_id, correlation_id, causation_id })
    }

    fn id(&self, at: usize) -> Value {
        Value::Str(self.bytes.slice(at..at + ID_LEN))
    }
}

/// What a body is given room for: what the last one of this thread took, within reason.
const MIN_LEN: usize = 512;
const MAX_LEN: usize = 16 * 1024;

thread_local! {
    static LAST_LEN: Cell<usize> = const { Cell::new(2 * MIN_LEN) };
}

/// Writes the event's own fields behind those of the envelope, and closes the object that these opened.
fn write_flat<E: Event>(json: &mut Vec<u8>, event: &E, kind: &EventKind) -> Result<(), EncodeError> {
    let at = json.len();
    let mut fault = None;
    let mut serializer = serde_json::Serializer::new(&mut *json);
    let written = serializer.serialize_map(None).and_then(|mut map| {
        event.serialize_payload(Flat::new(&mut map, &mut fault))?;
        map.end()
    });
    written.map_err(|source| match fault {
        Some(Fault::Reserved(field)) => EncodeError::ReservedField { event: kind.name, field },
        Some(Fault::NotAnObject(found)) => EncodeError::NotAnObject { event: kind.name, found },
        None => EncodeError::Json { event: kind.name, source },
    })?;
    // serde_json has begun an object of its own: it goes on with the one that is open.
    if json[at..] == *b"{}" {
        json.remove(at);
    } else {
        json[at] = b',';
    }
    Ok(())
}

/// Bytes of an id as text.
const ID_LEN: usize = Hyphenated::LENGTH;

/// Writes an id, and gives back where it stands.
fn write_id(json: &mut Vec<u8>, id: &Id<'_>) -> usize {
    let at = json.len();
    json.extend_from_slice(&id.text);
    at
}

/// Writes an id in quotes, or null.
fn write_optional_id(json: &mut Vec<u8>, id: Option<&Id<'_>>) -> Option<usize> {
    let Some(id) = id else {
        json.extend_from_slice(b"null");
        return None;
    };
    json.push(b'"');
    let at = write_id(json, id);
    json.push(b'"');
    Some(at)
}

/// The headers, written in alphabetical order; those that the event brings itself come last, as they may
/// have none of our names.
fn headers(kind: &EventKind, metadata: &Metadata, ids: &Ids<'_>, body: &Body) -> Headers {
    let known = |text: &'static str| Value::Str(Bytes::from_static(text.as_bytes()));
    // Most events have six, and a trace adds two.
    let mut headers = Headers::with_capacity(8 + kind.headers.len());
    headers.insert(names::AGGREGATE_ID, body.id(body.aggregate_id));
    headers.insert(names::AGGREGATE_TYPE, known(kind.aggregate));
    let version = i64::try_from(metadata.aggregate_version.max(1)).unwrap_or(i64::MAX);
    headers.insert(names::AGGREGATE_VERSION, version);
    if let Some(at) = body.causation_id {
        headers.insert(names::CAUSATION_ID, body.id(at));
    }
    if let Some(at) = body.correlation_id {
        headers.insert(names::CORRELATION_ID, body.id(at));
    }
    headers.insert(names::EVENT_TYPE, known(kind.name));
    if let Some(at) = body.tenant_id {
        headers.insert(names::TENANT_ID, body.id(at));
    }
    for (name, id) in [
        (names::ES_AGGREGATE_ID, Some(&ids.aggregate)),
        (names::ES_CAUSATION_ID, ids.causation.as_ref()),
        (names::ES_CORRELATION_ID, ids.correlation.as_ref()),
        (names::ES_EVENT_ID, Some(&ids.event)),
        (names::ES_TENANT_ID, ids.tenant.as_ref()),
    ] {
        if let Some(original) = id.and_then(|id| id.original.as_deref()) {
            headers.insert(name, original);
        }
    }
    if ids.aggregate_is_missing {
        headers.insert(names::ES_NO_AGGREGATE_ID, true);
    }
    headers.insert(names::RETRY_COUNT, 0_i64);
    for &(name, value) in kind.headers {
        if headers.get(name).is_none() {
            headers.insert(name, value);
        }
    }
    headers
}

/// An id as it is written.
#[derive(Clone)]
struct Id<'a> {
    wire: Uuid,
    text: [u8; ID_LEN],
    /// What the publisher said, when it is not what is written.
    original: Option<Cow<'a, str>>,
}

impl<'a> Id<'a> {
    fn new(id: impl Into<Cow<'a, str>>) -> Self {
        let id = id.into();
        let written = Self::from(wire_id(&id));
        let original = (written.text[..] != *id.as_bytes()).then_some(id);
        Self { original, ..written }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.text).expect("a UUID is written in ASCII")
    }
}

impl From<Uuid> for Id<'_> {
    fn from(wire: Uuid) -> Self {
        let mut text = [0; ID_LEN];
        wire.hyphenated().encode_lower(&mut text);
        Self { wire, text, original: None }
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
        Ok(Self {
            aggregate_is_missing: aggregate.is_none(),
            aggregate: match aggregate {
                Some(id) => Id::new(id),
                None => missing_aggregate_id(event_id.wire).into(),
            },
            tenant: metadata.tenant_id.as_deref().map(Id::new),
            correlation: metadata.correlation_id.as_deref().map(|id| {
                // An event that begins a process gives it its own id.
                if *id == metadata.event_id { event_id.clone() } else { Id::new(id) }
            }),
            causation: metadata.causation_id.as_deref().map(Id::new),
            event: event_id,
        })
    }
}
