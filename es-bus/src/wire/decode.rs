//! A message as an event.
//!
//! What the body says of the envelope counts; what it leaves out is looked for in the headers, then
//! in the properties, then a default stands in. A field that stands in the body must be readable,
//! else the event is undecodable and the error names the field; a header or a property that cannot
//! be read is as good as absent, for they belong to whoever last handled the message.
//!
//! | field | else header | else property | else |
//! |---|---|---|---|
//! | `event_id` | | `message_id` | empty |
//! | `event_type` | `event_type` | `type` | the name of the event that is decoded |
//! | `event_version` | | | 1 |
//! | `occurred_at` | | `timestamp` | 1970-01-01 |
//! | `aggregate_id` | `aggregate_id` | | none |
//! | `aggregate_type` | `aggregate_type` | | the aggregate of the event that is decoded |
//! | `aggregate_version` | `aggregate_version` | | 1 |
//! | `tenant_id`, `causation_id` | the same | | none |
//! | `correlation_id` | `correlation_id` | `correlation_id` | none |
//! | `actor_id`, `metadata` | | | none |

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor},
};
use time::OffsetDateTime;

use super::{
    error::{DecodeError, cut},
    fields::{Fields, Part},
    filter::Filter,
    identify::header_text,
    ids::{missing_aggregate_id, original, wire_id},
    names,
    time::from_unix,
};
use crate::{
    event::{Event, EventKind, PayloadStyle},
    message::{Message, Received},
    metadata::Metadata,
};

/// Reads an event and its envelope out of a message, in one pass.
///
/// `kind` is the one of [`Event::KINDS`] that the message is taken to be; whether it claims to be
/// that is for the caller to ask ([`origin`](super::origin)).
///
/// # Errors
///
/// [`DecodeError`] says what is wrong and where.
pub fn decode<E: Event>(received: &Received, kind: &EventKind) -> Result<(Metadata, E), DecodeError> {
    let (envelope, event) = decode_event(received, kind)?;
    Ok((envelope.metadata(received), event))
}

/// As [`decode`], where the envelope is asked for later or not at all.
pub(crate) fn decode_event<E: Event>(
    received: &Received,
    kind: &EventKind,
) -> Result<(Envelope, E), DecodeError> {
    let mut fields = Fields::default();
    let event = read(&received.message, kind.name, |failed, body, json| {
        let map = InMap { body, fields: &mut fields, failed };
        match kind.payload {
            PayloadStyle::Flat => json.deserialize_map(Flat::<E> { map, kind, event: PhantomData }),
            PayloadStyle::Nested => json.deserialize_map(Nested::<E> { map, kind, event: PhantomData }),
        }
    })?;
    Ok((Envelope { fields, event_type: kind.name, aggregate_type: kind.aggregate }, event))
}

/// Reads the envelope of a message; the event's own fields are passed over.
///
/// # Errors
///
/// [`DecodeError`] says what is wrong and where.
pub fn decode_metadata(received: &Received) -> Result<Metadata, DecodeError> {
    let mut fields = Fields::default();
    read(&received.message, "the event", |failed, body, json| {
        json.deserialize_map(EnvelopeOnly(InMap { body, fields: &mut fields, failed }))
    })?;
    Ok(Envelope { fields, event_type: "", aggregate_type: "" }.metadata(received))
}

/// What was read of an envelope, and has become nobody's [`Metadata`] yet.
#[derive(Debug)]
pub(crate) struct Envelope {
    fields: Fields,
    /// What the event is, and its aggregate, when the message does not say.
    event_type: &'static str,
    aggregate_type: &'static str,
}

type Json<'de> = serde_json::Deserializer<serde_json::de::SliceRead<'de>>;

fn read<'de, T>(
    message: &'de Message,
    what: &str,
    visit: impl FnOnce(&mut Option<String>, &'de [u8], &mut Json<'de>) -> Result<T, serde_json::Error>,
) -> Result<T, DecodeError> {
    if let Some(content_type) = &message.properties.content_type
        && !is_json(content_type)
    {
        let content_type = cut(content_type, 255);
        return Err(DecodeError::new(&format!("content type {content_type:?} is not JSON")));
    }
    // Some platforms begin every text with a byte order mark, which is no JSON.
    let body = message.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&message.body);
    if body.is_empty() {
        return Err(DecodeError::new("the body is empty"));
    }

    let mut failed = None;
    let mut json = serde_json::Deserializer::from_slice(body);
    visit(&mut failed, &message.body, &mut json).and_then(|value| json.end().map(|()| value)).map_err(
        |error| {
            if let Some(encoding) = &message.properties.content_encoding
                && !["", "utf-8", "utf8", "us-ascii", "identity"].contains(&&*encoding.to_ascii_lowercase())
            {
                let encoding = cut(encoding, 255);
                return DecodeError::new(&format!(
                    "content encoding {encoding:?} is not one that can be read"
                ));
            }
            if let Err(error) = std::str::from_utf8(body) {
                return DecodeError::new(&format!("the body is not UTF-8, at byte {}", error.valid_up_to()));
            }
            DecodeError::new(&match failed {
                Some(field) => format!("{what}: field {:?}: {error}", cut(&field, 128)),
                None => format!("{what}: {error}"),
            })
        },
    )
}

/// Whether a content type says JSON: `application/json`, `application/cloudevents+json`, with
/// parameters or without; an empty one says nothing.
fn is_json(content_type: &str) -> bool {
    if content_type == "application/json" {
        return true;
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.split_once('/') {
        None => essence.is_empty(),
        Some(("application" | "text", "json")) => true,
        Some(("application", subtype)) => subtype.ends_with("+json"),
        Some(_) => false,
    }
}

impl Envelope {
    /// The envelope of `received`, which is what it was read from.
    pub(crate) fn metadata(self, received: &Received) -> Metadata {
        let Self { fields, event_type, aggregate_type } = self;
        let Message { properties, headers, body } = &received.message;
        let own = |part: Option<Part>| part.map(|part| part.text(body));
        let text = |field: Option<Part>, header: &str| {
            own(field).or_else(|| headers.get(header).and_then(header_text).map(Cow::into_owned))
        };
        let id = |wire: String, header: &str| original(Cow::Owned(wire), headers, header).into_owned();

        let event_wire_id = own(fields.event_id)
            .or_else(|| properties.message_id.as_deref().map(str::to_owned))
            .unwrap_or_default();
        let aggregate_wire_id = text(fields.aggregate_id, names::AGGREGATE_ID).filter(|aggregate| {
            !(headers.get(names::ES_NO_AGGREGATE_ID).is_some()
                && *aggregate == missing_aggregate_id(wire_id(&event_wire_id)).to_string())
        });
        Metadata {
            event_type: text(fields.event_type, names::EVENT_TYPE)
                .or_else(|| properties.kind.as_deref().map(str::to_owned))
                .unwrap_or_else(|| event_type.to_owned()),
            event_version: fields.event_version.and_then(|version| u32::try_from(version).ok()).unwrap_or(1),
            occurred_at: fields
                .occurred_at
                .or_else(|| from_unix(properties.timestamp? as f64))
                .unwrap_or(OffsetDateTime::UNIX_EPOCH),
            aggregate_id: aggregate_wire_id.map(|wire| id(wire, names::ES_AGGREGATE_ID)),
            aggregate_type: text(fields.aggregate_type, names::AGGREGATE_TYPE)
                .unwrap_or_else(|| aggregate_type.to_owned()),
            aggregate_version: fields
                .aggregate_version
                .or_else(|| u64::try_from(headers.get_int(names::AGGREGATE_VERSION)?).ok().filter(|v| *v > 0))
                .unwrap_or(1),
            tenant_id: text(fields.tenant_id, names::TENANT_ID).map(|wire| id(wire, names::ES_TENANT_ID)),
            actor_id: own(fields.actor_id),
            correlation_id: text(fields.correlation_id, names::CORRELATION_ID)
                .or_else(|| properties.correlation_id.as_deref().map(str::to_owned))
                .map(|wire| id(wire, names::ES_CORRELATION_ID)),
            causation_id: text(fields.causation_id, names::CAUSATION_ID)
                .map(|wire| id(wire, names::ES_CAUSATION_ID)),
            metadata: fields.metadata,
            event_id: id(event_wire_id, names::ES_EVENT_ID),
        }
    }
}

/// The map of a body on its way through a [`Filter`].
struct InMap<'a, 'de> {
    body: &'de [u8],
    fields: &'a mut Fields,
    failed: &'a mut Option<String>,
}

impl<'a, 'de> InMap<'a, 'de> {
    fn filter<A: MapAccess<'de>>(self, map: A) -> Filter<'a, 'de, A> {
        Filter::new(map, self.body, self.fields, self.failed)
    }
}

/// A body whose own fields stand beside the envelope's.
struct Flat<'a, 'de, E> {
    map: InMap<'a, 'de>,
    kind: &'a EventKind,
    event: PhantomData<E>,
}

impl<'de, E: Event> Visitor<'de> for Flat<'_, 'de, E> {
    type Value = E;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<E, A::Error> {
        let mut filter = self.map.filter(map);
        let event = E::deserialize_payload(self.kind.name, &mut filter)?;
        filter.drain()?;
        Ok(event)
    }
}

/// A body whose own fields stand under `payload`.
struct Nested<'a, 'de, E> {
    map: InMap<'a, 'de>,
    kind: &'a EventKind,
    event: PhantomData<E>,
}

impl<'de, E: Event> Visitor<'de> for Nested<'_, 'de, E> {
    type Value = E;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<E, A::Error> {
        let mut filter = self.map.filter(map);
        let mut event = None;
        while let Some(key) = filter.next_own()? {
            if key == "payload" {
                event = Some(filter.next_value_seed(PayloadSeed::<E>(self.kind, PhantomData))?);
            } else {
                filter.next_value::<IgnoredAny>()?;
            }
        }
        event.ok_or_else(|| Error::missing_field("payload"))
    }
}

struct PayloadSeed<'a, E>(&'a EventKind, PhantomData<E>);

impl<'de, E: Event> DeserializeSeed<'de> for PayloadSeed<'_, E> {
    type Value = E;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<E, D::Error> {
        E::deserialize_payload(self.0.name, deserializer)
    }
}

/// A body of which only the envelope is wanted.
struct EnvelopeOnly<'a, 'de>(InMap<'a, 'de>);

impl<'de> Visitor<'de> for EnvelopeOnly<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.filter(map).drain()
    }
}
