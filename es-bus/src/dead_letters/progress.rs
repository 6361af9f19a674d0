//! How far a call is that goes through dead letters.

use std::sync::Arc;

/// How far a call is: told at its begin, with each dead letter that it has seen, and with each that it is done with.
///
/// [`DeadLetters::on_progress`](super::DeadLetters::on_progress) says to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterProgress {
    /// How many there were at the begin; no more than these are seen.
    pub total: u64,
    /// How many of them were seen.
    pub seen: u64,
    /// How many of those are taken out of the queue: replayed, or thrown away.
    pub done: u64,
}

/// Whom it is told.
pub(super) type Tell = Arc<dyn Fn(DeadLetterProgress) + Send + Sync>;
