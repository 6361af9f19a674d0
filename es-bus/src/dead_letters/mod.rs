//! Dead letters: look at them, send them back, throw them away.
//!
//! A group's failed events lie in its dead-letter queue, each with what it failed of. In comes that
//! queue; out go [`DeadLetter`]s, what [`DeadLetters::replay`] sent back to the group that failed, or
//! nothing but a number.
//!
//! Everything here works the same way (`scan`): messages are consumed and held unacknowledged on
//! channels of their own. What a call is done with, it acknowledges, after the broker has confirmed
//! whatever was published in its stead; the rest goes back to its place when the channels close. So a
//! call that is killed leaves everything in the queue, or at worst both a message and its replay.
//! AMQP has no way to look at a message without taking it, so while a call holds messages nobody else
//! sees them; `lock` keeps two calls from working on one queue at once.
//!
//! Messages are seen in order. For that they are consumed, not pulled one by one (`basic.get`): each
//! message that was pulled from a quorum queue comes back as if from a consumer of its own, and more
//! than 32 of them come back in no order (measured on 3.10).

mod error;
mod export;
mod filter;
mod json;
mod letter;
mod lock;
mod progress;
mod queue;
mod replay;
mod scan;

#[cfg(feature = "cli")]
pub(crate) use self::json::{headers as headers_json, value as value_json};
pub(crate) use self::queue::{Desk, KnownGroup};
pub use self::{
    error::DeadLetterError,
    filter::Filter,
    letter::{Body, DeadLetter, Deaths, FullDeadLetter},
    progress::DeadLetterProgress,
    queue::DeadLetters,
    replay::{NotReplayed, Replay, ReplayReport},
};
