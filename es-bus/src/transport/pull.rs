//! Taking messages one at a time, to look at them or to move them.
//!
//! A consumer is for those who want everything that comes. A tool that works on what a queue holds
//! asks for one message after the other and stops when it has seen enough.

use super::ConsumeError;
use crate::{handler::BoxFuture, message::Received};

/// A message that was pulled and is held: nobody else gets it until the [`Pull`] is closed.
#[derive(Debug)]
pub struct Pulled {
    /// What was delivered.
    pub received: Received,
    /// Its place in the order in which it was pulled, from 1; what [`Pull::ack`] names it by.
    pub tag: u64,
}

/// A channel over which messages are pulled off one queue, and held.
///
/// What is not acknowledged goes back to its place when the channel closes: by
/// [`close`](Self::close), because this is dropped, or because the program is killed.
pub trait Pull: Send {
    /// The message at the head of the queue; `None` when none is ready.
    ///
    /// # Errors
    ///
    /// [`ConsumeError::NoQueue`] when the queue is not there (any more), [`ConsumeError::Refused`] when
    /// it is somebody's alone, and what ends a channel or a connection. The channel is of no use then.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have pulled a message that nobody sees; it is held like the others.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Pulled>, ConsumeError>>;

    /// Acknowledges one message that was pulled: it is done with.
    ///
    /// # Errors
    ///
    /// When the channel or the connection is gone, so that the message comes again.
    fn ack(&mut self, tag: u64) -> BoxFuture<'_, Result<(), ConsumeError>>;

    /// Closes the channel: what was acknowledged is gone, the rest is back in its place.
    ///
    /// # Errors
    ///
    /// When the connection was lost before the broker agreed: an acknowledgement may not have reached
    /// it, and its message comes again.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), ConsumeError>>;
}
