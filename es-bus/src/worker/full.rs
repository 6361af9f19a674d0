//! Says that a dead-letter queue is full: once, and again while it lasts, however many events wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{name::QueueName, topology::GroupSpec};

/// How often it is said.
const EVERY: Duration = Duration::from_secs(30);

/// When each full queue was last told of.
#[derive(Clone, Default)]
pub(crate) struct FullQueues(Arc<Mutex<HashMap<QueueName, Instant>>>);

impl FullQueues {
    /// Says that a group's dead-letter queue refuses its events.
    pub(super) fn tell(&self, group: &GroupSpec) {
        if self.is_due(&group.dlq) {
            tracing::error!(
                dlq = %group.dlq,
                group = group.name.as_str(),
                concurrency = group.settings.concurrency,
                max_length = group.settings.dlq_max_length,
                "the dead-letter queue is full: each event that failed for good holds one of the group's places, \
                 unacknowledged, until there is room: replay, discard or purge dead letters"
            );
        }
    }

    fn is_due(&self, queue: &QueueName) -> bool {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(queue).is_some_and(|at| now.duration_since(*at) < EVERY) {
            return false;
        }
        told.insert(queue.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_queue_is_told_of_once_in_half_a_minute_whoever_finds_it_full() {
        let full = FullQueues::default();
        let (one, other) = (QueueName::new("one.dlq").unwrap(), QueueName::new("other.dlq").unwrap());

        assert_eq!(
            [&one, &one, &other, &one].map(|queue| full.clone().is_due(queue)),
            [true, false, true, false]
        );
        tokio::time::advance(EVERY).await;
        assert_eq!([&one, &one].map(|queue| full.is_due(queue)), [true, false]);
    }
}
