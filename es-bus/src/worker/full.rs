//! Says that a retry queue or a dead-letter queue is full: once, and again while it lasts, however many events
//! wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::copies::Copy;
use crate::{name::QueueName, topology::GroupSpec};

/// How often it is said.
const EVERY: Duration = Duration::from_secs(30);

/// When each full queue was last told of; the retry queues of a group count as one.
#[derive(Clone, Default)]
pub(crate) struct FullQueues(Arc<Mutex<HashMap<String, Instant>>>);

impl FullQueues {
    /// Says that a group's queue refuses this copy, and what would do.
    pub(super) fn tell(&self, group: &GroupSpec, copy: &Copy) {
        let queue = match copy {
            Copy::DeadLetter(_) => return self.tell_dead_letters(group),
            Copy::Retry { stay, .. } | Copy::Wait { stay, .. } => Some(group.retry_queue_named(&stay.delay)),
            Copy::Suspect { .. } => group.suspects(),
        };
        if self.is_due(group.retry.as_str()) {
            // A name that is too long ended the start.
            let queue = queue.and_then(Result::ok);
            tracing::error!(
                queue = queue.as_ref().map(QueueName::as_str),
                exchange = %group.retry,
                group = group.name.as_str(),
                concurrency = group.settings.concurrency,
                "the retry queue is full, or most of its replicas are away: each event that failed holds one of the \
                 group's places, unacknowledged, until there is room; what limits it is a policy on the broker: raise \
                 it, or exempt the queue"
            );
        }
    }

    fn tell_dead_letters(&self, group: &GroupSpec) {
        if self.is_due(group.dlq.as_str()) {
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

    fn is_due(&self, queue: &str) -> bool {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(queue).is_some_and(|at| now.duration_since(*at) < EVERY) {
            return false;
        }
        told.insert(queue.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_queue_is_told_of_once_in_half_a_minute_whoever_finds_it_full() {
        let full = FullQueues::default();
        let (one, other) = ("one.dlq", "other.dlq");

        assert_eq!(
            [one, one, other, one].map(|queue| full.clone().is_due(queue)),
            [true, false, true, false]
        );
        tokio::time::advance(EVERY).await;
        assert_eq!([one, one].map(|queue| full.is_due(queue)), [true, false]);
    }
}
