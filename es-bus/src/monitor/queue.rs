//! How full the queues of a group are.

use serde::Serialize;

use crate::{telemetry::GroupWatch, transport::QueueStatus};

/// The queues of a group, as the broker told of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueueInfo {
    /// The group.
    pub group: String,
    /// The work queue.
    pub name: String,
    /// Messages that are ready to be delivered; those that a consumer has in hand are not counted.
    pub message_count: u64,
    /// Consumers, those of other processes included.
    pub consumer_count: u64,
    /// What the queue does.
    pub state: QueueState,
    /// The dead-letter queue, where the group has one.
    pub dlq_name: Option<String>,
    /// Messages in the dead-letter queue; `None` where there is none.
    pub dlq_message_count: Option<u64>,
}

/// What a queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum QueueState {
    /// It has consumers.
    Running,
    /// Nobody consumes it.
    Idle,
    /// It is not there.
    Error,
}

impl QueueInfo {
    pub(super) fn new(group: &GroupWatch, queue: Option<QueueStatus>, dlq: Option<QueueStatus>) -> Self {
        Self {
            group: group.name.as_str().to_owned(),
            name: group.queue.as_str().to_owned(),
            message_count: queue.map_or(0, |queue| queue.messages),
            consumer_count: queue.map_or(0, |queue| queue.consumers),
            state: match queue {
                None => QueueState::Error,
                Some(queue) if queue.consumers == 0 => QueueState::Idle,
                Some(_) => QueueState::Running,
            },
            dlq_name: group.dlq.as_ref().map(|dlq| dlq.as_str().to_owned()),
            dlq_message_count: dlq.map(|dlq| dlq.messages),
        }
    }
}

/// Why nothing can be said about the queues of a group.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueInfoError {
    /// This process does not consume such a group.
    #[error("no group {group:?} is consumed here; those that are: {}", known.join(", "))]
    UnknownGroup {
        /// What was asked for.
        group: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The broker did not say.
    #[error("the broker does not say how the queues of group {group:?} are: {reason}")]
    Unavailable {
        /// The group.
        group: String,
        /// Why not.
        reason: String,
    },
}
