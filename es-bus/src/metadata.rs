//! What is said about an event beside its own fields: ids, times, who and why.

use serde_json::{Map, Value as Json};
use time::OffsetDateTime;

/// The envelope of an event: what a handler can know beside the event itself.
///
/// Ids are the texts that the publisher gave, whatever their form. On the wire each is a UUID
/// (eventsource-py loses anything else); one that is none travels as a UUID derived from it, with
/// the original in a header.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Metadata {
    /// The id of the event; a retried, replayed or re-sent event keeps it.
    pub event_id: String,
    /// The event type: `OrderPlaced`.
    pub event_type: String,
    /// The version of the event's schema, from 1.
    pub event_version: u32,
    /// When it happened.
    pub occurred_at: OffsetDateTime,
    /// The aggregate that it happened to; `None` when the publisher named none.
    pub aggregate_id: Option<String>,
    /// The type of that aggregate: `Order`.
    pub aggregate_type: String,
    /// The version of the aggregate after the event, from 1.
    pub aggregate_version: u64,
    /// The tenant.
    pub tenant_id: Option<String>,
    /// Who caused it.
    pub actor_id: Option<String>,
    /// The process that it belongs to: the same for everything that one request set off.
    pub correlation_id: Option<String>,
    /// The event that caused this one.
    pub causation_id: Option<String>,
    /// Whatever else the publisher said.
    pub metadata: Map<String, Json>,
}

impl Metadata {
    /// Metadata of an event of which only this much is said.
    #[must_use]
    pub fn new(event_id: String, event_type: String, occurred_at: OffsetDateTime) -> Self {
        Self {
            event_id,
            event_type,
            event_version: 1,
            occurred_at,
            aggregate_id: None,
            aggregate_type: String::new(),
            aggregate_version: 1,
            tenant_id: None,
            actor_id: None,
            correlation_id: None,
            causation_id: None,
            metadata: Map::new(),
        }
    }
}
