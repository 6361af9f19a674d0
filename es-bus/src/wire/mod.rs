//! Events as messages: eventsource-py's flat JSON format, both ways, and what is written on a
//! message when it is retried or dead-lettered.
//!
//! * [`encode()`] makes a message of an event and its [`Metadata`](crate::Metadata); [`decode()`] and
//!   [`decode_metadata`] read them back.
//! * [`origin`] tells what a delivery claims to be and where it came from; [`attempts()`], [`waits`],
//!   [`retry_count`] and [`lane`] read the other headers that a worker asks for.
//! * [`Source`] makes the copies that go to a retry queue or to the dead-letter queue; [`fit()`],
//!   [`drop_foreign`] and [`check_sizes`] see to it that the broker can take them.
//! * [`provenance()`] tells of a message in a dead-letter queue who put it there, and what for.
//!
//! Everything here is a function of its arguments: the clock and fresh ids come in. Nothing that a
//! message holds makes any of it panic; what cannot be read is absent, or a [`DecodeError`].
//!
//! The bytes are those of the Python library, so that both can share an exchange:
//!
//! ```json
//! {"event_id":"…","event_type":"OrderPlaced","event_version":1,"occurred_at":"2026-01-02T03:04:05.678901Z",
//!  "aggregate_id":"…","aggregate_type":"Order","aggregate_version":1,"tenant_id":null,"actor_id":null,
//!  "correlation_id":"…","causation_id":null,"metadata":{},"customer_id":"cust-123","total_amount":99.99}
//! ```

mod attempts;
pub(crate) mod base64;
mod copies;
mod decode;
mod encode;
mod error;
mod fields;
mod filter;
mod fit;
mod flat;
mod identify;
mod ids;
mod keys;
mod letter;
pub mod names;
mod time;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use self::{
    attempts::{HandlerAttempt, attempts, crashes, retry_count, waits},
    copies::{FailureInfo, Source},
    decode::{decode, decode_metadata},
    encode::encode,
    error::{DecodeError, EncodeError, TooLarge},
    fields::ENVELOPE_FIELDS,
    fit::{check_sizes, drop_foreign, fit, header_frame_len, header_limit},
    identify::{Origin, lane, origin},
    ids::{NAMESPACE, new_id, wire_id},
    letter::{
        DeadLetterAuthor, Provenance, aggregate_id, dead_letter_id, death_count, event_id, latest_death,
        provenance,
    },
};
pub(crate) use self::{
    copies::carried,
    decode::{Envelope, decode_event},
    error::cut,
    identify::adopt,
};
