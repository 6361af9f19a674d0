//! The names of headers, and the words that stand in some of them.

/// The event type: `OrderPlaced`. eventsource-py picks the class by it and loses a message without.
pub const EVENT_TYPE: &str = "event_type";
/// The id of the aggregate, as a UUID.
pub const AGGREGATE_ID: &str = "aggregate_id";
/// The type of the aggregate: `Order`.
pub const AGGREGATE_TYPE: &str = "aggregate_type";
/// The version of the aggregate.
pub const AGGREGATE_VERSION: &str = "aggregate_version";
/// The event that caused this one, as a UUID; absent when there is none.
pub const CAUSATION_ID: &str = "causation_id";
/// The process that the event belongs to, as a UUID; absent when there is none.
pub const CORRELATION_ID: &str = "correlation_id";
/// The tenant, as a UUID; absent when there is none.
pub const TENANT_ID: &str = "tenant_id";

/// How many attempts failed, as eventsource-py counts them.
pub const RETRY_COUNT: &str = "x-retry-count";
/// When the message was last sent to be retried.
pub const LAST_RETRY_AT: &str = "x-last-retry-at";

/// Why the message is in the dead-letter queue: the error's text.
pub const DLQ_REASON: &str = "x-dlq-reason";
/// The name of the error's type.
pub const DLQ_ERROR_TYPE: &str = "x-dlq-error-type";
/// How many retries there were.
pub const DLQ_RETRY_COUNT: &str = "x-dlq-retry-count";
/// When the message was dead-lettered.
pub const DLQ_TIMESTAMP: &str = "x-dlq-timestamp";
/// The routing key that the event was first published with.
pub const ORIGINAL_ROUTING_KEY: &str = "x-original-routing-key";
/// When the message was replayed from a dead-letter queue, by whomever.
pub const REPLAYED_FROM_DLQ: &str = "x-replayed-from-dlq";

/// The event id as the publisher gave it, when that is no UUID.
pub const ES_EVENT_ID: &str = "x-es-event-id";
/// The aggregate id as the publisher gave it, when that is no UUID.
pub const ES_AGGREGATE_ID: &str = "x-es-aggregate-id";
/// The correlation id as the publisher gave it, when that is no UUID.
pub const ES_CORRELATION_ID: &str = "x-es-correlation-id";
/// The causation id as the publisher gave it, when that is no UUID.
pub const ES_CAUSATION_ID: &str = "x-es-causation-id";
/// The tenant id as the publisher gave it, when that is no UUID.
pub const ES_TENANT_ID: &str = "x-es-tenant-id";
/// True when the publisher named no aggregate: the id on the wire was made up.
pub const ES_NO_AGGREGATE_ID: &str = "x-es-no-aggregate-id";

/// The delay that a retry copy asks for. The headers exchange selects the retry queue by it, and
/// RabbitMQ leaves names that begin with `x-` out of that selection.
pub const ES_DELAY: &str = "es-delay";
/// The queue whose worker made this copy. What other headers say is obeyed by that queue only:
/// eventsource-py copies headers to every group.
pub const ES_QUEUE: &str = "x-es-queue";
/// Which handlers a copy is for, and at which attempt each is: `{queue, handlers, due}`.
pub const ES_ATTEMPTS: &str = "x-es-attempts";
/// How often the event waited because nobody knew it.
pub const ES_WAITS: &str = "x-es-waits";
/// How many processes ended while they had the event in hand: on the copy of a suspect.
pub const ES_CRASHES: &str = "x-es-crashes";
/// The id of this very copy.
pub const ES_PUBLISH_ID: &str = "x-es-publish-id";
/// The exchange that the event was first published to.
pub const ES_ORIGINAL_EXCHANGE: &str = "x-es-original-exchange";
/// When the event first failed in this group.
pub const ES_FIRST_FAILURE_AT: &str = "x-es-first-failure-at";
/// When the event last failed in this group.
pub const ES_LAST_FAILURE_AT: &str = "x-es-last-failure-at";
/// What kind of failure it was: one of the `REASON_` words, or `FailureKind::as_str`.
pub const ES_REASON: &str = "x-es-reason";
/// The text of the last error, on a retry copy.
pub const ES_ERROR: &str = "x-es-error";
/// The name of the last error's type, on a retry copy.
pub const ES_ERROR_TYPE: &str = "x-es-error-type";
/// The handler that a dead-lettered message failed in.
pub const ES_HANDLER: &str = "x-es-handler";
/// The id of the entry in the dead-letter queue.
pub const ES_DLQ_ID: &str = "x-es-dlq-id";
/// The replay that this group's worker has taken note of: the text of [`REPLAYED_FROM_DLQ`] then.
/// An attempt list is obeyed, and a dead letter believed to be ours, only when the two agree; a replay by
/// anybody else makes them void.
pub const ES_REPLAYED: &str = "x-es-replayed";
/// How often es-bus has replayed the message from a dead-letter queue.
pub const ES_REPLAYS: &str = "x-es-replays";
/// The names of headers that had to go for the message to fit a frame.
pub const ES_DROPPED_HEADERS: &str = "x-es-dropped-headers";
/// What a copy cannot carry under its own name stands under its own name after this.
pub const ES_ORIG_PREFIX: &str = "x-es-orig-";

/// [`ES_REASON`]: nothing in the group knows the event.
pub const REASON_UNKNOWN_EVENT: &str = "unknown_event";
/// [`ES_REASON`]: the handler that the event waits for is no longer there.
pub const REASON_HANDLER_GONE: &str = "handler_gone";

/// [`ES_REASON`]: each time that the event was handled alone, the process ended.
pub const REASON_CRASHED: &str = "crashed";

/// [`ES_DELAY`]: the queue of the events that are handled alone, which is no retry queue, and is picked
/// like one.
pub const DELAY_SUSPECTS: &str = "suspects";
/// [`ES_DELAY`]: the queue in which stands how far the stream of a group was read.
pub(crate) const DELAY_POSITION: &str = "position";
/// [`ES_DELAY`]: the note that a process leaves which gives deliveries back in order.
pub const DELAY_HANDOVER: &str = "handover";

/// What the queue is named, after the name of a queue, in which messages wait while that one is migrated.
pub(crate) const ASIDE_SUFFIX: &str = ".migrating";
/// What the queue is named of the messages that were in it before the migration began.
pub(crate) const OLD_SUFFIX: &str = ".migrating.old";

/// Inside [`ES_ATTEMPTS`].
pub(super) const ATTEMPTS_QUEUE: &str = "queue";
/// Inside [`ES_ATTEMPTS`].
pub(super) const ATTEMPTS_HANDLERS: &str = "handlers";
/// Inside [`ES_ATTEMPTS`].
pub(super) const ATTEMPTS_DUE: &str = "due";

/// Whether es-bus gives the header a meaning of its own, so that a publisher's own header cannot
/// have the name.
#[must_use]
pub fn is_own(name: &str) -> bool {
    is_envelope(name)
        || name.starts_with("x-es-")
        || name.starts_with("x-dlq-")
        || matches!(name, ES_DELAY | RETRY_COUNT | LAST_RETRY_AT | ORIGINAL_ROUTING_KEY | REPLAYED_FROM_DLQ)
}

/// Whether the header belongs to the event rather than to its way through the broker.
pub(super) fn is_envelope(name: &str) -> bool {
    matches!(
        name,
        EVENT_TYPE
            | AGGREGATE_ID
            | AGGREGATE_TYPE
            | AGGREGATE_VERSION
            | CAUSATION_ID
            | CORRELATION_ID
            | TENANT_ID
            | ES_EVENT_ID
            | ES_AGGREGATE_ID
            | ES_CORRELATION_ID
            | ES_CAUSATION_ID
            | ES_TENANT_ID
            | ES_NO_AGGREGATE_ID
    )
}

/// Whether the broker writes the header when it dead-letters or redelivers. RabbitMQ 3.10 and 4.0
/// count differently in them, so that a copy that carried them on would lie on one of the two.
pub(super) fn is_written_by_broker(name: &str) -> bool {
    matches!(name, "x-death" | "x-delivery-count" | "x-acquired-count")
        || name.starts_with("x-first-death-")
        || name.starts_with("x-last-death-")
}

/// Whether the header would send a copy to more queues than the one that it is for.
pub(super) fn is_routing(name: &str) -> bool {
    matches!(name, "CC" | "BCC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selecting_header_is_one_that_a_headers_exchange_looks_at() {
        assert!(!ES_DELAY.starts_with("x-"));
    }

    #[test]
    fn a_publishers_own_header_is_not_ours() {
        for own in [EVENT_TYPE, TENANT_ID, RETRY_COUNT, DLQ_REASON, ES_DELAY, ES_ATTEMPTS, "x-es-orig-CC"] {
            assert!(is_own(own), "{own}");
        }
        for foreign in ["traceparent", "region", "x-death", "CC", "x-request-id"] {
            assert!(!is_own(foreign), "{foreign}");
        }
    }
}
