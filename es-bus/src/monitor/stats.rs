//! Statistics, under the names that eventsource-py has for them.

use std::time::Duration;

use serde::{Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::telemetry::{Counts, Moments};

/// What a bus has done, and how it is.
///
/// Serialized, times are texts as RFC 3339 has them, in UTC.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Events that the broker confirmed, and some queue took.
    pub events_published: u64,
    /// Deliveries that a worker took in hand: an event that is tried three times counts three times,
    /// and once more in each other group.
    pub events_consumed: u64,
    /// Deliveries whose handlers all succeeded.
    pub events_processed_success: u64,
    /// Deliveries of which at least one handler failed.
    pub events_processed_failed: u64,
    /// Messages that went to a dead-letter queue: one per handler that gave up on an event.
    pub messages_sent_to_dlq: u64,
    /// Runs of handlers that failed, panicked or took too long.
    pub handler_errors: u64,
    /// Times that the connections were there again after they were lost.
    pub reconnections: u64,
    /// Messages that the broker confirmed, and some queue took: the events, and messages published as
    /// they are.
    pub publish_confirms: u64,
    /// Messages that came back, because no queue takes them.
    pub publish_returns: u64,
    /// Lists of events that were published.
    pub batch_publishes: u64,
    /// Events that were published in lists.
    pub batch_events_published: u64,
    /// Lists of which some events were not published.
    pub batch_partial_failures: u64,
    /// Copies that were sent to wait for another attempt.
    pub events_retried: u64,
    /// Runs of handlers that took longer than `slow_handler`.
    pub slow_handlers: u64,
    /// Deliveries that are being handled at the moment.
    pub in_flight: u64,
    /// When an event was last confirmed.
    #[serde(serialize_with = "as_text")]
    pub last_publish_at: Option<OffsetDateTime>,
    /// When a delivery was last taken in hand.
    #[serde(serialize_with = "as_text")]
    pub last_consume_at: Option<OffsetDateTime>,
    /// When something last went wrong: with a publish, a handler, or the connections.
    #[serde(serialize_with = "as_text")]
    pub last_error_at: Option<OffsetDateTime>,
    /// What it was, in the words of es-bus and of the broker: neither what a handler's error says,
    /// which may be about a customer, nor a password.
    pub last_error: Option<String>,
    /// Since when the connections are there; `None` while they are not.
    #[serde(serialize_with = "as_text")]
    pub connected_at: Option<OffsetDateTime>,
    /// Whether the connections are there.
    pub is_connected: bool,
    /// Whether the program consumes: a group does, and so does every other one that is meant to. A
    /// group that is paused, or that was bound and has no handler here, is not meant to.
    pub is_consuming: bool,
    /// How long ago the bus was started, in seconds.
    pub uptime_seconds: f64,
}

/// What is so at the moment.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) connected_at: Option<OffsetDateTime>,
    pub(super) is_connected: bool,
    pub(super) is_consuming: bool,
    pub(super) in_flight: u64,
    pub(super) uptime: Duration,
}

impl Stats {
    pub(super) fn new(counts: Counts, moments: Moments, now: Now) -> Self {
        let (last_error_at, last_error) = moments.error.unzip();
        Self {
            events_published: counts.published,
            events_consumed: counts.delivered,
            events_processed_success: counts.succeeded,
            events_processed_failed: counts.unsuccessful,
            messages_sent_to_dlq: counts.dead_lettered,
            handler_errors: counts.failed,
            reconnections: counts.reconnected,
            publish_confirms: counts.confirmed,
            publish_returns: counts.returned,
            batch_publishes: counts.batches,
            batch_events_published: counts.batch_published,
            batch_partial_failures: counts.batch_failures,
            events_retried: counts.retried,
            slow_handlers: counts.slow,
            in_flight: now.in_flight,
            last_publish_at: moments.publish,
            last_consume_at: moments.consume,
            last_error_at,
            last_error,
            connected_at: now.connected_at,
            is_connected: now.is_connected,
            is_consuming: now.is_consuming,
            uptime_seconds: now.uptime.as_secs_f64(),
        }
    }
}

#[expect(clippy::ref_option, reason = "serde passes it so")]
pub(super) fn as_text<S: Serializer>(at: &Option<OffsetDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match at.and_then(|at| at.format(&Rfc3339).ok()) {
        Some(text) => serializer.serialize_some(&text),
        None => serializer.serialize_none(),
    }
}
