//! What is counted, and under which names it is logged.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What happened since the bus was built.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(pub(crate) $name: AtomicU64,)*
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
                Counts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Events that the broker confirmed.
    published,
    /// Events that no queue took, where that is no error.
    unroutable,
    /// Publishes that were sent again after the connection was lost.
    republished,
    /// Consumers that were started: one per group, and another after each loss of one.
    consumers,
    /// Deliveries that a worker took in hand.
    delivered,
    /// Runs of handlers that succeeded.
    handled,
    /// Runs of handlers that failed, panicked or timed out.
    failed,
    /// Copies that wait for their next attempt.
    retried,
    /// Copies that went to a dead-letter queue.
    dead_lettered,
    /// Dead letters that were sent back to be handled again.
    replayed,
    /// Dead letters that were thrown away.
    discarded,
    /// Events that a handler chose to drop.
    dropped,
    /// Events that a wide binding brought and no handler takes.
    skipped,
    /// Times that an unknown event was sent to wait for a replica that knows it.
    waited,
    /// Outcomes that came after the connection of their delivery was gone.
    stale,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
