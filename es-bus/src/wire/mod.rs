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
