//! Why dead letters could not be looked at or moved.

use std::io;

use crate::{
    name::InvalidName,
    transport::{ConsumeError, DeclareError},
};

/// Why a call about dead letters did not come to its end.
///
/// Nothing is lost by any of these: what was not acknowledged is in the queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// The program declares no such group.
    #[error(
        "there is no group {group:?} in this program ({}); `dead_letter_queue` opens the queue of another \
         program by its name",
        hint(.nearest, .known)
    )]
    UnknownGroup {
        /// What was asked for.
        group: String,
        /// The group that may have been meant.
        nearest: Option<String>,
        /// The groups that there are.
        known: Vec<String>,
    },
    /// The name cannot be that of a queue.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The dead-letter queue is not there.
    #[error(
        "there is no dead-letter queue {queue:?} on the broker; it is declared when the group's program starts"
    )]
    NoQueue {
        /// The queue.
        queue: String,
    },
    /// Another call is at work on the queue, in this program or in another.
    #[error(
        "somebody else is working on the dead letters of {queue:?}; try again when they are through (the lock is \
         the queue {lock:?}, which goes with the connection of whoever has it)"
    )]
    Busy {
        /// The dead-letter queue.
        queue: String,
        /// The queue that is the lock.
        lock: String,
    },
    /// The queue that is to keep others out could not be declared.
    #[error("the dead letters of {queue:?} could not be locked")]
    Lock {
        /// The dead-letter queue.
        queue: String,
        /// What the broker said.
        #[source]
        source: DeclareError,
    },
    /// The broker does not let the queue be consumed.
    #[error("the dead letters of {queue:?} cannot be read")]
    Refused {
        /// The dead-letter queue.
        queue: String,
        /// What the broker said.
        #[source]
        source: ConsumeError,
    },
    /// The queue has messages and hands none out.
    #[error(
        "{queue:?} has {ready} messages and hands none out: it may have a single active consumer, or its node is \
         down"
    )]
    Stalled {
        /// The dead-letter queue.
        queue: String,
        /// How many messages are ready.
        ready: u64,
    },
    /// The connection was lost, or the broker could not be used any more.
    #[error(
        "the connection was lost over the dead letters of {queue:?}, after {done} of them were done with: {reason}; \
         the others are in the queue, and those that were done with may be there again"
    )]
    Interrupted {
        /// The dead-letter queue.
        queue: String,
        /// How many had been replayed or discarded.
        done: u64,
        /// What happened.
        reason: String,
    },
    /// There are more than there may be; what [`DeadLetters::check`](super::DeadLetters::check) says.
    #[error("{count} dead letters in {queue:?}, more than {max}")]
    TooMany {
        /// The dead-letter queue.
        queue: String,
        /// How many there are.
        count: u64,
        /// How many there may be.
        max: u64,
    },
    /// The export could not be written. Nothing was acknowledged.
    #[error("the dead letters of {queue:?} could not be exported, and none was removed")]
    Export {
        /// The dead-letter queue.
        queue: String,
        /// What the writer said.
        #[source]
        source: io::Error,
    },
}

fn hint(nearest: &Option<String>, known: &[String]) -> String {
    match (nearest, known) {
        (Some(nearest), _) => format!("did you mean {nearest:?}?"),
        (None, []) => "it declares none".to_owned(),
        (None, known) => {
            let known: Vec<String> = known.iter().map(|name| format!("{name:?}")).collect();
            format!("only {}", known.join(", "))
        }
    }
}

impl DeadLetterError {
    /// Whether trying again can help without anybody doing anything.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Interrupted { .. } | Self::Stalled { .. })
    }

    /// The same, after so many were done with.
    pub(super) fn after(self, count: u64) -> Self {
        match self {
            Self::Interrupted { queue, reason, .. } => Self::Interrupted { queue, done: count, reason },
            other => other,
        }
    }

    pub(super) fn of_consuming(queue: &str, error: ConsumeError) -> Self {
        let queue = queue.to_owned();
        match error {
            ConsumeError::NoQueue { .. } | ConsumeError::Cancelled { .. } => Self::NoQueue { queue },
            source @ ConsumeError::Refused { .. } => Self::Refused { queue, source },
            ConsumeError::ChannelClosed { reason, .. }
            | ConsumeError::Silent { reason, .. }
            | ConsumeError::Interrupted { reason } => Self::Interrupted { queue, done: 0, reason },
        }
    }
}
