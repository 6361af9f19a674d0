//! Events as messages: eventsource-py's flat JSON format, both ways.

use crate::{
    event::{Event, EventKind},
    message::Received,
    metadata::Metadata,
};

/// A body that is not what its event says.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// Reads an event and its envelope out of a message, in one pass.
///
/// # Errors
///
/// [`DecodeError`] says what is wrong and where.
pub fn decode<E: Event>(_received: &Received, _kind: &EventKind) -> Result<(Metadata, E), DecodeError> {
    Err(DecodeError(String::new()))
}

/// Reads the envelope of a message.
///
/// # Errors
///
/// [`DecodeError`] says what is wrong and where.
pub fn decode_metadata(_received: &Received) -> Result<Metadata, DecodeError> {
    Err(DecodeError(String::new()))
}

use crate::{
    message::{Message, Origin},
    outcome::FailureKind,
};
use std::time::Duration;
use time::OffsetDateTime;
pub mod names {
    pub const ES_DELAY: &str = "es-delay";
}
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    pub handler: String,
    pub attempt: u32,
    pub due_ms: Option<i64>,
}
#[derive(Debug, Clone, PartialEq)]
pub struct FailureInfo;
pub enum Reason {
    HandlerGone,
    UnknownEvent,
}
impl FailureInfo {
    pub fn of_handler(_h: &str, _a: u32, _k: FailureKind, _t: &str, _e: String) -> Self {
        Self
    }
    pub fn new(_h: Option<&str>, _a: u32, _k: Reason, _t: &str, _e: String) -> Self {
        Self
    }
    pub fn handler(&self) -> Option<&str> {
        None
    }
    pub fn error(&self) -> &str {
        ""
    }
}
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct EncodeError;
pub fn encode<E: Event>(_: &E, _: &Metadata) -> Result<Message, EncodeError> {
    Err(EncodeError)
}
pub fn aggregate(_: &Received) -> Option<(&str, &str)> {
    None
}
pub fn aggregate_type(_: &Received) -> Option<&str> {
    None
}
pub fn event_id(_: &Received) -> Option<&str> {
    None
}
pub fn origin(_: &Received, _: &str) -> Origin {
    todo!()
}
pub fn pending(_: &Received, _: &str) -> Vec<Pending> {
    todo!()
}
pub fn waits(_: &Received, _: &str) -> u32 {
    0
}
pub fn retry_copy(
    _: &Received,
    _: &Origin,
    _q: &str,
    _: &[Pending],
    _d: &str,
    _: Duration,
    _: Option<&FailureInfo>,
    _id: &str,
    _n: OffsetDateTime,
) -> Message {
    todo!()
}
pub fn wait_copy(
    _: &Received,
    _: &Origin,
    _q: &str,
    _: &[Pending],
    _w: u32,
    _d: &str,
    _: Duration,
    _id: &str,
    _n: OffsetDateTime,
) -> Message {
    todo!()
}
pub fn dead_letter_copy(
    _: &Received,
    _: &Origin,
    _q: &str,
    _: &FailureInfo,
    _id: &str,
    _n: OffsetDateTime,
) -> Message {
    todo!()
}
pub fn fit_headers(_: &mut Message, _: usize) {}
