//! What is measured through the `metrics` facade.
//!
//! Handles are made once, when the bus starts, with labels for the event types that the program
//! declares: a message can claim any type, and a label for each would cost the monitoring system its
//! memory. What happens seldom, a dead letter, makes its key when it happens.

use std::{collections::HashMap, time::Duration};

use metrics::{Counter, Gauge, Histogram, counter as find_counter, gauge, histogram};

pub(super) type Meter = Counter;

/// A metric that es-bus keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// It only goes up.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often a value lay where.
    Histogram,
}

const PUBLISHED: &str = "events_published_total";
const CONSUMED: &str = "events_consumed_total";
/// How long handlers took.
pub(crate) const SECONDS: &str = "event_processing_seconds";
const QUEUE_SIZE: &str = "rabbitmq_queue_size";
const DEAD_LETTERS: &str = "es_bus_dead_letters_total";
const SLOW_HANDLERS: &str = "es_bus_slow_handlers_total";
const IN_FLIGHT: &str = "es_bus_in_flight";
const HELD: &str = "es_bus_held";
const CONSUMERS: &str = "es_bus_consumers";
const CONNECTED: &str = "es_bus_connected";
const BLOCKED: &str = "es_bus_blocked";
const DRIFT: &str = "es_bus_drift";

/// Where the buckets of [`SECONDS`] end: those that OpenTelemetry proposes for messaging.
#[cfg(feature = "http")]
pub(crate) const SECONDS_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Why most dead letters are. There from the start: a counter whose first value is 1 has not increased.
const REASONS: &[&str] = &[
    "handler_error",
    "panic",
    "timeout",
    "undecodable",
    "completion",
    "unknown_event",
    "handler_gone",
    "crashed",
];

/// Event types that the program does not declare.
const UNKNOWN: &str = "unknown";

/// Every metric that a bus keeps.
///
/// `event_type` is a type that the program declares, or `unknown`.
pub const METRICS: &[Metric] = &[
    counter_of(PUBLISHED, &["event_type"], "Events that the broker confirmed."),
    counter_of(
        CONSUMED,
        &["event_type", "status"],
        "Deliveries that went to handlers; status is success when all of them succeeded, else error.",
    ),
    Metric {
        name: SECONDS,
        kind: MetricKind::Histogram,
        labels: &["event_type"],
        help: "How long the handlers of a delivery took, in seconds.",
    },
    gauge_of(
        QUEUE_SIZE,
        &["queue_name"],
        "Messages that are ready in a queue; NaN while the broker does not say.",
    ),
    counter_of("es_bus_unroutable_total", &[], "Events that no queue took, where that is no error."),
    counter_of(
        "es_bus_publish_confirms_total",
        &[],
        "Messages that the broker confirmed and some queue took.",
    ),
    counter_of("es_bus_publish_returns_total", &[], "Messages that came back, because no queue takes them."),
    counter_of("es_bus_publish_errors_total", &[], "Publishes that ended in an error."),
    counter_of("es_bus_publish_retries_total", &[], "Publishes that were sent again after an interruption."),
    counter_of("es_bus_publish_batches_total", &[], "Lists of events that were published."),
    counter_of("es_bus_publish_batch_failures_total", &[], "Lists of which some events were not published."),
    counter_of("es_bus_background_failures_total", &[], "Events published in the background that failed."),
    counter_of("es_bus_consumers_started_total", &[], "Consumers that were started."),
    counter_of("es_bus_deliveries_total", &[], "Deliveries that a worker took in hand."),
    counter_of("es_bus_handler_successes_total", &[], "Runs of handlers that succeeded."),
    counter_of("es_bus_handler_errors_total", &[], "Runs of handlers that failed, panicked or timed out."),
    counter_of(SLOW_HANDLERS, &["group", "handler"], "Runs of handlers that took longer than slow_handler."),
    counter_of("es_bus_retries_total", &[], "Copies that wait for their next attempt."),
    counter_of(DEAD_LETTERS, &["reason"], "Messages that went to a dead-letter queue."),
    counter_of("es_bus_replayed_total", &[], "Dead letters that were sent back to be handled again."),
    counter_of("es_bus_discarded_total", &[], "Dead letters that were thrown away."),
    counter_of("es_bus_dropped_total", &[], "Events that a handler or its group chose to drop."),
    counter_of("es_bus_skipped_total", &[], "Events that a wide binding brought and no handler takes."),
    counter_of("es_bus_waited_total", &[], "Times that an unknown event was sent to wait."),
    counter_of("es_bus_overtaken_total", &[], "Deliveries that overtook an event which waits for its retry."),
    counter_of("es_bus_shed_total", &[], "Deliveries that a layer gave back without an attempt."),
    counter_of(
        "es_bus_silent_consumers_total",
        &[],
        "Consumers started anew because they got nothing although their queue had something.",
    ),
    counter_of(
        "es_bus_overdue_total",
        &[],
        "Deliveries given back unstarted, too old to finish within the consumer timeout.",
    ),
    counter_of(
        "es_bus_suspects_total",
        &[],
        "Events set aside to be handled alone, as a process ended over them.",
    ),
    counter_of(
        "es_bus_stale_total",
        &[],
        "Outcomes that came after the connection of their delivery was gone.",
    ),
    counter_of("es_bus_reconnects_total", &[], "Times that the connections were there again after a loss."),
    gauge_of(IN_FLIGHT, &["group"], "Deliveries that are being handled."),
    gauge_of(HELD, &["group"], "Deliveries that wait, as the broker does not take their copies."),
    gauge_of(CONSUMERS, &["group"], "Consumers that this process has on the group's queue."),
    gauge_of(CONNECTED, &[], "1 while the connections to the broker are there, else 0."),
    gauge_of(BLOCKED, &[], "1 while the broker takes no publishes, else 0."),
    gauge_of(
        DRIFT,
        &["kind"],
        "What the broker has otherwise than declared, where drift_interval is set; NaN while it cannot be seen.",
    ),
];

const fn counter_of(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

const fn gauge_of(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help }
}

/// A counter without labels.
pub(super) fn counter(name: &'static str) -> Meter {
    find_counter!(name)
}

/// The meters of events.
pub(super) struct Meters {
    known: HashMap<&'static str, EventMeters>,
    unknown: EventMeters,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").field("event_types", &self.known.keys()).finish_non_exhaustive()
    }
}

impl Meters {
    /// Meters for these event types; all others are one.
    pub(super) fn new(event_types: impl IntoIterator<Item = &'static str>) -> Self {
        describe();
        for reason in REASONS {
            find_counter!(DEAD_LETTERS, "reason" => *reason).increment(0);
        }
        let known = event_types.into_iter().map(|name| (name, EventMeters::new(name))).collect();
        Self { known, unknown: EventMeters::new(UNKNOWN) }
    }

    pub(super) fn published(&self, event_type: &str) {
        self.of(Some(event_type)).published.increment(1);
    }

    pub(super) fn processed(&self, event_type: Option<&str>, is_success: bool, took: Duration) {
        let meters = self.of(event_type);
        let status = if is_success { &meters.success } else { &meters.error };
        status.increment(1);
        meters.seconds.record(took.as_secs_f64());
    }

    fn of(&self, event_type: Option<&str>) -> &EventMeters {
        event_type.and_then(|name| self.known.get(name)).unwrap_or(&self.unknown)
    }
}

struct EventMeters {
    published: Counter,
    success: Counter,
    error: Counter,
    seconds: Histogram,
}

impl EventMeters {
    fn new(event_type: &'static str) -> Self {
        Self {
            published: find_counter!(PUBLISHED, "event_type" => event_type),
            success: find_counter!(CONSUMED, "event_type" => event_type, "status" => "success"),
            error: find_counter!(CONSUMED, "event_type" => event_type, "status" => "error"),
            seconds: histogram!(SECONDS, "event_type" => event_type),
        }
    }
}

/// The meters of a group.
pub(super) struct GroupMeters {
    consumers: Gauge,
    in_flight: Gauge,
    held: Gauge,
}

impl std::fmt::Debug for GroupMeters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupMeters").finish_non_exhaustive()
    }
}

impl GroupMeters {
    pub(super) fn new(group: &str) -> Self {
        let meters = Self {
            consumers: gauge!(CONSUMERS, "group" => group.to_owned()),
            in_flight: gauge!(IN_FLIGHT, "group" => group.to_owned()),
            held: gauge!(HELD, "group" => group.to_owned()),
        };
        // Seen before anything happens: what is missing cannot be told from what is nought. Not set, as
        // another bus of this process may have a group of that name.
        meters.consumers.increment(0.0);
        meters.in_flight.increment(0.0);
        meters.held.increment(0.0);
        meters
    }

    pub(super) fn consumers(&self, more: f64) {
        self.consumers.increment(more);
    }

    pub(super) fn in_flight(&self, more: f64) {
        self.in_flight.increment(more);
    }

    pub(super) fn held(&self, more: f64) {
        self.held.increment(more);
    }
}

pub(super) fn dead_letter(reason: &'static str) {
    find_counter!(DEAD_LETTERS, "reason" => reason).increment(1);
}

pub(super) fn slow_handler(group: &str, handler: &str) {
    find_counter!(SLOW_HANDLERS, "group" => group.to_owned(), "handler" => handler.to_owned()).increment(1);
}

/// Tells how the connections are.
pub(crate) fn tell_link(is_up: bool, is_blocked: bool) {
    gauge!(CONNECTED).set(f64::from(u8::from(is_up)));
    gauge!(BLOCKED).set(f64::from(u8::from(is_blocked)));
}

/// Tells how much on the broker is not as it was declared, when it could be seen.
pub(crate) fn drift(kind: &'static str, how_much: Option<u64>) {
    gauge!(DRIFT, "kind" => kind).set(or_nan(how_much));
}

/// Tells how full a queue is, when the broker says.
pub(crate) fn queue_size(queue: &str, messages: Option<u64>) {
    gauge!(QUEUE_SIZE, "queue_name" => queue.to_owned()).set(or_nan(messages));
}

#[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^53 to the last one")]
fn or_nan(count: Option<u64>) -> f64 {
    count.map_or(f64::NAN, |count| count as f64)
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            MetricKind::Histogram => {
                metrics::describe_histogram!(metric.name, metrics::Unit::Seconds, metric.help);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Counters;

    #[test]
    fn every_counter_that_is_measured_is_in_the_list() {
        let listed: Vec<&str> =
            METRICS.iter().filter(|metric| metric.labels.is_empty()).map(|metric| metric.name).collect();

        for name in Counters::MEASURED {
            assert!(listed.contains(name), "{name} is counted, and METRICS does not tell of it");
        }
    }
}
