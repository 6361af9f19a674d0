//! The counters, and the moments beside them.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use time::OffsetDateTime;

use super::{
    groups::GroupWatch,
    metrics::{self, Meter, Meters},
    refusals::Refusals,
};

/// One number, and where the program's recorder is told of it.
#[derive(Debug, Default)]
pub(crate) struct Count {
    value: AtomicU64,
    meter: OnceLock<Meter>,
}

impl Count {
    pub(crate) fn add(&self, how_many: u64) {
        self.value.fetch_add(how_many, Ordering::Relaxed);
        if let Some(meter) = self.meter.get() {
            meter.increment(how_many);
        }
    }

    fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident $(=> $metric:literal)?,)*) => {
        /// What happened since the bus was built.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(pub(crate) $name: Count,)*
            pub(crate) refusals: Refusals,
            last_publish: Moment,
            last_consume: Moment,
            last_error: Mutex<Option<(OffsetDateTime, String)>>,
            groups: Mutex<Vec<Arc<GroupWatch>>>,
            meters: OnceLock<Meters>,
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// The counters now.
            #[must_use]
            pub fn snapshot(&self) -> Counts {
                Counts { $($name: self.$name.get(),)* }
            }

            fn start_over(&self) {
                $(self.$name.value.store(0, Ordering::Relaxed);)*
            }

            fn register_plain(&self) {
                $($(let _ = self.$name.meter.set(metrics::counter($metric));)?)*
            }

            /// The names under which plain counters are measured.
            #[cfg(all(test, feature = "metrics"))]
            pub(super) const MEASURED: &'static [&'static str] = &[$($($metric,)?)*];
        }
    };
}

counters! {
    /// Events that the broker confirmed.
    published,
    /// Events that no queue took, where that is no error.
    unroutable => "es_bus_unroutable_total",
    /// Messages that the broker confirmed, and some queue took: events, and messages published as
    /// they are. Copies that retry or dead-letter are not among them.
    confirmed => "es_bus_publish_confirms_total",
    /// Messages that came back, because no queue takes them.
    returned => "es_bus_publish_returns_total",
    /// Publishes that ended in an error.
    publish_errors => "es_bus_publish_errors_total",
    /// Publishes that were sent again after the connection was lost.
    republished => "es_bus_publish_retries_total",
    /// Lists of events that were published.
    batches => "es_bus_publish_batches_total",
    /// Events that were published in lists.
    batch_published,
    /// Lists of which some events were not published.
    batch_failures => "es_bus_publish_batch_failures_total",
    /// Events that were published in the background and failed.
    background_failed => "es_bus_background_failures_total",
    /// Consumers that were started: one per group, and another after each loss of one.
    consumers => "es_bus_consumers_started_total",
    /// Consumers that were found to get nothing although their queue had something, and were started
    /// anew.
    silent => "es_bus_silent_consumers_total",
    /// Deliveries that a worker took in hand.
    delivered => "es_bus_deliveries_total",
    /// Deliveries whose handlers all succeeded.
    succeeded,
    /// Deliveries of which a handler failed.
    unsuccessful,
    /// Runs of handlers that succeeded, those among them whose outcome came too late ([`stale`](Self::stale)).
    handled => "es_bus_handler_successes_total",
    /// Runs of handlers that failed, panicked or timed out.
    failed => "es_bus_handler_errors_total",
    /// Runs of handlers that took longer than `slow_handler`.
    slow,
    /// Copies that wait for their next attempt.
    retried => "es_bus_retries_total",
    /// Copies that went to a dead-letter queue.
    dead_lettered,
    /// Dead letters that were sent back to be handled again.
    replayed => "es_bus_replayed_total",
    /// Dead letters that were thrown away.
    discarded => "es_bus_discarded_total",
    /// Events that a handler chose to drop, or that a group without a dead-letter queue gave up.
    dropped => "es_bus_dropped_total",
    /// Events that a wide binding brought and no handler takes.
    skipped => "es_bus_skipped_total",
    /// Times that an unknown event was sent to wait for a replica that knows it.
    waited => "es_bus_waited_total",
    /// Deliveries that were started while an earlier event of their aggregate waited for a retry that
    /// this process had sent it to.
    overtaken => "es_bus_overtaken_total",
    /// Deliveries that a layer gave back without an attempt.
    shed => "es_bus_shed_total",
    /// Deliveries that were given back before they started, as they had waited too long to be finished
    /// within the broker's consumer timeout, or were behind one that had.
    overdue => "es_bus_overdue_total",
    /// Events that were in hand when a process ended, and were set aside to be handled alone.
    suspects => "es_bus_suspects_total",
    /// Outcomes that came after the connection of their delivery was gone.
    stale => "es_bus_stale_total",
    /// Times that the connections were there again after they were lost.
    reconnected => "es_bus_reconnects_total",
}

/// When something happened last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moments {
    /// An event was published.
    pub(crate) publish: Option<OffsetDateTime>,
    /// A delivery was taken in hand.
    pub(crate) consume: Option<OffsetDateTime>,
    /// Something went wrong, and what.
    pub(crate) error: Option<(OffsetDateTime, String)>,
}

impl Counters {
    pub(crate) fn add(counter: &Count) {
        counter.add(1);
    }

    /// Finds the meters, with labels for these event types and no others. What was counted before is
    /// not measured.
    pub(crate) fn register(&self, event_types: impl IntoIterator<Item = &'static str>) {
        self.register_plain();
        let _ = self.meters.set(Meters::new(event_types));
    }

    /// Notes an event that the broker confirmed.
    pub(crate) fn event_published(&self, event_type: &str, now: OffsetDateTime) {
        Self::add(&self.published);
        self.last_publish.set(now);
        if let Some(meters) = self.meters.get() {
            meters.published(event_type);
        }
    }

    /// Notes a delivery that was taken in hand.
    pub(crate) fn delivery_taken(&self, now: OffsetDateTime) {
        Self::add(&self.delivered);
        self.last_consume.set(now);
    }

    /// Notes that the handlers of a delivery are through with it.
    pub(crate) fn delivery_processed(&self, event_type: Option<&str>, is_success: bool, took: Duration) {
        Self::add(if is_success { &self.succeeded } else { &self.unsuccessful });
        if let Some(meters) = self.meters.get() {
            meters.processed(event_type, is_success, took);
        }
    }

    /// Notes a message that went to a dead-letter queue.
    pub(crate) fn dead_letter(&self, reason: &'static str) {
        Self::add(&self.dead_lettered);
        if self.meters.get().is_some() {
            metrics::dead_letter(reason);
        }
    }

    /// Notes a handler that took long.
    pub(crate) fn slow_handler(&self, group: &str, handler: &str) {
        Self::add(&self.slow);
        if self.meters.get().is_some() {
            metrics::slow_handler(group, handler);
        }
    }

    /// Notes that something went wrong; the text is shown to whoever asks, so it holds nothing of a
    /// message or of an error of the program's own.
    pub(crate) fn went_wrong(&self, now: OffsetDateTime, what: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, what));
    }

    /// When something happened last.
    pub(crate) fn moments(&self) -> Moments {
        Moments {
            publish: self.last_publish.get(),
            consume: self.last_consume.get(),
            error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Starts to count from zero. What the program's recorder was told stays told.
    pub(crate) fn reset(&self) {
        self.start_over();
        self.last_publish.clear();
        self.last_consume.clear();
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What is known of the groups that are consumed here, by the time they were started.
    pub(crate) fn groups(&self) -> Vec<Arc<GroupWatch>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The watch over a group; the same one whenever the group is started again.
    pub(crate) fn group(&self, watch: GroupWatch) -> Arc<GroupWatch> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = groups.iter().find(|group| group.is_of(&watch)) {
            return Arc::clone(there);
        }
        let watch = Arc::new(watch);
        groups.push(Arc::clone(&watch));
        watch
    }

    /// Forgets a group that is over.
    pub(crate) fn forget_group(&self, watch: &Arc<GroupWatch>) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|group| !Arc::ptr_eq(group, watch));
    }
}

/// A time of day in an atomic, in microseconds.
#[derive(Debug)]
struct Moment(AtomicI64);

impl Moment {
    const NEVER: i64 = i64::MIN;

    fn set(&self, at: OffsetDateTime) {
        let micros = i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap_or(Self::NEVER);
        self.0.store(micros, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.0.store(Self::NEVER, Ordering::Relaxed);
    }

    fn get(&self) -> Option<OffsetDateTime> {
        match self.0.load(Ordering::Relaxed) {
            Self::NEVER => None,
            micros => OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok(),
        }
    }
}

impl Default for Moment {
    fn default() -> Self {
        Self(AtomicI64::new(Self::NEVER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_kept_to_the_microsecond_and_forgotten_when_asked() {
        let counters = Counters::default();
        let at = time::macros::datetime!(2026-01-02 03:04:05.678901 UTC);

        counters.event_published("OrderPlaced", at);
        counters.delivery_taken(at + Duration::from_secs(1));
        counters.went_wrong(at, "the broker went".to_owned());

        assert_eq!(
            counters.moments(),
            Moments {
                publish: Some(at),
                consume: Some(at + Duration::from_secs(1)),
                error: Some((at, "the broker went".to_owned())),
            }
        );
        counters.reset();
        assert_eq!((counters.moments(), counters.snapshot()), (Moments::default(), Counts::default()));
    }
}
