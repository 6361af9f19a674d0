//! A consumer, its deliveries, and the one way to settle each.

use std::{fmt, sync::Arc};

use futures_util::{StreamExt, stream::BoxStream};
use tokio_util::sync::CancellationToken;

use super::ConsumeError;
use crate::{handler::BoxFuture, message::Received};

/// What happens to a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It is done with.
    Ack,
    /// It goes back to its queue.
    Requeue,
    /// The broker drops it, or sends it to the queue's dead-letter exchange.
    Reject,
}

/// The side of a consumer that settles.
pub trait Settle: Send + Sync + 'static {
    /// Settles a delivery; `false` when the channel that brought it is gone, and the broker will
    /// deliver it again.
    ///
    /// Does not wait: what is settled is sent within 5 ms, together with what else is.
    fn settle(&self, tag: u64, settlement: Settlement) -> bool;

    /// Cancelled once the channel is gone: what it brought and is not settled comes again, and nothing
    /// settles it here any more. Within a second of the moment when the channel is known to be gone.
    fn lost(&self) -> &Arc<CancellationToken>;

    /// How many deliveries stand in the way of settling the others together, and have for long; 0 where that
    /// makes no difference.
    fn held(&self) -> usize;

    /// Ends the consumer as soon as nothing is on its way to it, if that is soon: what was on its way would come
    /// again as if somebody had had it in hand. The stream then ends, and what is unsettled stays so.
    fn leave(&self);

    /// Whether the consumer was ended by [`leave`](Self::leave), or by itself as [`ConsumeRequest::may_hold`]
    /// allows.
    ///
    /// [`ConsumeRequest::may_hold`]: super::ConsumeRequest::may_hold
    fn has_left(&self) -> bool;

    /// Sends all settlements, and waits until the broker has them, or the channel is gone.
    fn flush(&self) -> BoxFuture<'_, ()>;

    /// Asks the broker for no more deliveries; those on their way still come, then the stream ends.
    fn cancel(&self) -> BoxFuture<'_, ()>;

    /// Sends all settlements, then closes the channel; what is not settled goes back to the queue.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A consumer: a stream of deliveries.
///
/// The stream ends after [`Consumer::cancel`], when the broker cancels the consumer (the queue was
/// deleted), and when the connection is lost; in the last two cases an error comes before the end.
pub struct Consumer {
    deliveries: BoxStream<'static, Result<Delivery, ConsumeError>>,
    settle: Arc<dyn Settle>,
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").finish_non_exhaustive()
    }
}

impl Consumer {
    /// A consumer of a transport's stream.
    #[must_use]
    pub fn new(
        deliveries: BoxStream<'static, Result<Delivery, ConsumeError>>,
        settle: Arc<dyn Settle>,
    ) -> Self {
        Self { deliveries, settle }
    }

    /// The next delivery; `None` at the end.
    ///
    /// # Cancel safety
    ///
    /// A dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Result<Delivery, ConsumeError>> {
        self.deliveries.next().await
    }

    /// Its side that settles, which is there until its last delivery is settled or dropped.
    #[must_use]
    pub fn settler(&self) -> &Arc<dyn Settle> {
        &self.settle
    }

    /// Asks for no more deliveries.
    pub async fn cancel(&mut self) {
        self.settle.cancel().await;
    }

    /// Sends all settlements and closes the channel, without ending the consumer before: where a queue
    /// has a single active consumer, the next gets what is not settled here before it gets more.
    pub async fn hand_over(self) {
        self.settle.close().await;
        drop(self.deliveries);
    }

    /// Sends all settlements and closes the channel.
    pub async fn close(self) {
        // The stream may hold the channel open.
        drop(self.deliveries);
        self.settle.close().await;
    }
}

/// One delivery, and the right to settle it once.
///
/// One that is dropped unsettled stays with the consumer until its channel closes, and then goes
/// back to the queue.
pub struct Delivery {
    /// What was delivered.
    pub received: Received,
    tag: u64,
    settle: Arc<dyn Settle>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The message may hold what belongs in no log.
        f.debug_struct("Delivery").field("tag", &self.tag).finish_non_exhaustive()
    }
}

impl Delivery {
    /// A delivery of a transport.
    #[must_use]
    pub fn new(received: Received, tag: u64, settle: Arc<dyn Settle>) -> Self {
        Self { received, tag, settle }
    }

    /// Its place in the order of the channel's deliveries.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// What settles it, and all else that came on its channel.
    #[must_use]
    pub fn settler(&self) -> &Arc<dyn Settle> {
        &self.settle
    }

    /// Cancelled once the channel that brought it is gone.
    #[must_use]
    pub fn lost(&self) -> &Arc<CancellationToken> {
        self.settle.lost()
    }

    /// Settles it; `false` when the channel that brought it is gone.
    pub fn settle(self, settlement: Settlement) -> bool {
        self.settle.settle(self.tag, settlement)
    }

    /// Parts the message from the right to settle it.
    pub fn split(self) -> (Received, impl FnOnce(Settlement) -> bool + Send + 'static) {
        let Self { received, tag, settle } = self;
        (received, move |settlement| settle.settle(tag, settlement))
    }
}
