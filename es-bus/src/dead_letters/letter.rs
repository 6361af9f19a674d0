//! One dead letter, as people and programs read it.

use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{json, scan::Held};
use crate::{
    message::{Headers, Received},
    wire::{self, DeadLetterAuthor, base64, names},
};

/// How much of a body is shown, in bytes.
const PREVIEW: usize = 256;
/// How much of an error text is shown, in bytes; es-bus writes no more than that.
const MAX_ERROR: usize = 4096;
/// How much of every other text is shown, in bytes.
const MAX_TEXT: usize = 255;

/// What a dead letter says of itself, without its body.
///
/// Every text is cut to a bounded length: headers are anybody's. What a message does not tell is
/// `None`: one that eventsource-py wrote names no handler, one that the broker dead-lettered itself
/// has no error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// What names this entry, in [`show`](super::DeadLetters::show) and [`Filter::id`](super::Filter::id).
    ///
    /// `x-es-dlq-id` where es-bus wrote the entry. Others have none: then it is the message id, which
    /// entries of one event share, and without that a UUID made of the content.
    pub id: String,
    /// Its place in the queue when it was looked at, from 0.
    pub position: u64,
    /// The id of the event, as its publisher gave it.
    pub event_id: Option<String>,
    /// The type that the event claims to be.
    pub event_type: Option<String>,
    /// The type of its aggregate.
    pub aggregate_type: Option<String>,
    /// The id of its aggregate, as its publisher gave it.
    pub aggregate_id: Option<String>,
    /// The exchange that it was first published to, where anything tells.
    pub exchange: Option<String>,
    /// The routing key that it was first published with.
    pub routing_key: String,
    /// The queue that it failed in, and that a replay leads to.
    pub queue: Option<String>,
    /// Why it is here: `handler_error`, `panic`, `timeout`, `undecodable`, `completion`, `unknown_event`,
    /// `handler_gone`, `crashed`, `not_due`; the broker's `rejected`, `expired`, `maxlen`, `delivery_limit`; or
    /// `unknown`.
    pub reason: String,
    /// The name of the error's type.
    pub error_type: Option<String>,
    /// The error's text.
    pub error: Option<String>,
    /// The handlers that it failed in, nearly always one; empty when it is for all of the group.
    pub handlers: Vec<String>,
    /// How many retries it had.
    pub retries: Option<u32>,
    /// When it first failed, as written on the message (RFC 3339).
    pub first_failure_at: Option<String>,
    /// When it last failed.
    pub last_failure_at: Option<String>,
    /// When it was dead-lettered.
    pub dead_lettered_at: Option<String>,
    /// What the broker wrote when it dead-lettered the message itself.
    pub deaths: Option<Deaths>,
    /// How often es-bus has replayed it so far.
    pub replays: u32,
    /// When it was last replayed, by whomever.
    pub replayed_at: Option<String>,
    /// How often it was handed out and came back, which only quorum queues count: each look is one.
    pub deliveries: u32,
    /// How large the body is, in bytes.
    pub body_size: usize,
    /// The beginning of the body, at most 256 bytes; what is no UTF-8 is replaced.
    pub preview: String,
}

/// What `x-death` tells of the times that a broker dead-lettered a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Deaths {
    /// How often, over all queues and reasons. RabbitMQ 4 counts a copy anew.
    pub count: u64,
    /// The first queue.
    pub first_queue: Option<String>,
    /// The first reason.
    pub first_reason: Option<String>,
    /// The exchange that it was published to before it died first.
    pub first_exchange: Option<String>,
    /// The routing key that it had when it died last.
    pub routing_key: Option<String>,
}

impl DeadLetter {
    /// Reads a message of the queue `dlq`.
    pub(super) fn read(held: &Held, dlq: &str) -> Self {
        Self::of(held.received(), held.position, dlq)
    }

    fn of(received: &Received, position: u64, dlq: &str) -> Self {
        let message = &received.message;
        let headers = &message.headers;
        let found = wire::provenance(received, dlq);
        let text = |name: &str| headers.get_str(name).map(short);
        let is_ours = found.author == DeadLetterAuthor::EsBus;
        let wrote_error = is_ours || found.author == DeadLetterAuthor::EventsourcePy;
        let own = |name: &str| if is_ours { text(name) } else { None };
        let deaths = deaths(headers);
        let reason = match found.author {
            DeadLetterAuthor::EsBus => text(names::ES_REASON),
            DeadLetterAuthor::EventsourcePy => Some("handler_error".to_owned()),
            DeadLetterAuthor::Broker => {
                wire::latest_death(headers).and_then(|death| death.get_str("reason")).map(short)
            }
            DeadLetterAuthor::Unknown => None,
        };
        let count = |name: &str| headers.get_int(name).and_then(|count| u32::try_from(count).ok());
        let preview = &message.body[..message.body.len().min(PREVIEW)];
        Self {
            id: wire::dead_letter_id(received, &found),
            position,
            event_id: wire::event_id(received).map(|id| short(&id)),
            event_type: found.origin.event_type.as_deref().map(short),
            aggregate_type: text(names::AGGREGATE_TYPE),
            aggregate_id: wire::aggregate_id(received).map(|id| short(&id)),
            exchange: Some(found.origin.exchange).filter(|name| !name.is_empty()),
            routing_key: found.origin.routing_key,
            queue: found.queue,
            reason: reason.unwrap_or_else(|| "unknown".to_owned()),
            error_type: text(names::DLQ_ERROR_TYPE).filter(|_| wrote_error),
            error: headers
                .get_str(names::DLQ_REASON)
                .filter(|_| wrote_error)
                .map(|text| wire::cut(text, MAX_ERROR).into_owned()),
            handlers: found.handlers.iter().map(|handler| short(handler)).collect(),
            retries: count(names::DLQ_RETRY_COUNT).filter(|_| wrote_error),
            first_failure_at: own(names::ES_FIRST_FAILURE_AT),
            last_failure_at: own(names::ES_LAST_FAILURE_AT),
            dead_lettered_at: text(names::DLQ_TIMESTAMP).filter(|_| wrote_error),
            deaths,
            replays: count(names::ES_REPLAYS).unwrap_or(0),
            replayed_at: text(names::REPLAYED_FROM_DLQ),
            deliveries: count("x-delivery-count").unwrap_or(0),
            body_size: message.body.len(),
            preview: String::from_utf8_lossy(preview).trim_end_matches('\u{fffd}').to_owned(),
        }
    }
}

fn deaths(headers: &Headers) -> Option<Deaths> {
    let latest = wire::latest_death(headers);
    let first = |name: &str| headers.get_str(name).map(short);
    let routing_key = || latest?.get("routing-keys")?.as_array()?.first()?.as_str().map(short);
    let first_reason = first("x-first-death-reason");
    if latest.is_none() && first_reason.is_none() {
        return None;
    }
    Some(Deaths {
        count: wire::death_count(headers),
        first_queue: first("x-first-death-queue"),
        first_reason,
        first_exchange: first("x-first-death-exchange"),
        routing_key: routing_key(),
    })
}

fn short(text: &str) -> String {
    wire::cut(text, MAX_TEXT).into_owned()
}

/// A dead letter with all that it carries.
///
/// Serialises as the entry with `properties`, `headers` and `body` beside it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FullDeadLetter {
    /// What it says of itself.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The properties that are set, by their names in AMQP.
    pub properties: serde_json::Value,
    /// The headers, by name; bytes that are no text as `{"base64": ".."}`.
    pub headers: serde_json::Value,
    /// The body.
    pub body: Body,
    /// The message itself, to the last byte.
    #[serde(skip)]
    pub received: Received,
}

impl FullDeadLetter {
    pub(super) fn read(held: Held, dlq: &str) -> Self {
        let position = held.position;
        Self::of(held.into_received(), position, dlq)
    }

    /// Reads a message of the queue `dlq`. For those who fuzz it.
    #[doc(hidden)]
    #[must_use]
    pub fn of(received: Received, position: u64, dlq: &str) -> Self {
        Self {
            letter: DeadLetter::of(&received, position, dlq),
            properties: json::properties(&received.message),
            headers: json::headers(&received.message.headers),
            body: Body::of(&received.message.body),
            received,
        }
    }
}

/// The body of a message, as far as it can be read.
///
/// Serialises with its kind: `{"json": ..}`, `{"text": ".."}`, `{"base64": ".."}`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// A JSON value. Numbers that Rust has no type for are rounded; `received` has the bytes.
    Json(serde_json::Value),
    /// Another text.
    Text(String),
    /// No text.
    Bytes(Bytes),
}

impl Body {
    fn of(bytes: &Bytes) -> Self {
        if let Ok(value) = serde_json::from_slice(bytes) {
            return Self::Json(value);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes(bytes.clone()),
        }
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Json(value) => map.serialize_entry("json", value)?,
            Self::Text(text) => map.serialize_entry("text", text)?,
            Self::Bytes(bytes) => map.serialize_entry("base64", &base64::encode(bytes))?,
        }
        map.end()
    }
}
