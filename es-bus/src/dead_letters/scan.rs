//! Goes through a queue once, in order, and holds what it has seen.
//!
//! In comes a queue; out goes one message after the other, each with the right to acknowledge it. How
//! many there are is asked first, and no more than that are seen: what comes meanwhile, above all what
//! fails again after it was replayed, is for the next time.

use std::{mem, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use super::{
    DeadLetterError,
    lock::Lock,
    progress::{DeadLetterProgress, Tell},
};
use crate::{
    message::Received,
    name::QueueName,
    transport::{ConsumeError, ConsumeRequest, Consumer, DeclareError, Delivery, Settlement, Transport},
};

/// How many bytes of bodies may be on their way here at once, roughly: the client library keeps what
/// the broker sends ahead.
const AHEAD: u64 = 8 * 1024 * 1024;
/// How many messages the first consumer holds, before anything is known of their size.
const FIRST: u64 = 64;
/// How long nothing may come before the queue is asked whether it has anything.
const QUIET: Duration = Duration::from_millis(200);
/// How often a queue may answer that it has messages, and send none.
const STALLED_AFTER: u32 = 50;
/// For how long nothing of what was held may be there again for others, before it is taken to be gone.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// After how many deliveries of one message a queue without a limit of its own is near its end:
/// RabbitMQ 4 gives a message of a quorum queue up after 20.
const MANY_DELIVERIES: i64 = 15;

/// A walk through a queue.
///
/// Dropped anywhere, it puts back what it held.
pub(super) struct Scan {
    transport: Arc<dyn Transport>,
    queue: QueueName,
    /// The connection that everything is held over.
    generation: u64,
    /// Each holds as many as it may, but for the last. Closed in this order, so that what they hold
    /// comes back in order.
    holders: Vec<Holder>,
    /// How many more the last consumer may hold.
    room: u64,
    /// How many there were at the start.
    total: u64,
    /// How many are still to be seen.
    left: u64,
    acknowledged: u64,
    bytes: u64,
    /// Whether the last message that was seen had come back to a quorum queue before.
    came_back: bool,
    warned: bool,
    /// Whom it is told how far it is.
    tell: Option<Tell>,
    /// Given back last.
    lock: Lock,
}

/// A consumer, and how many messages it holds.
struct Holder {
    consumer: Consumer,
    held: u64,
}

/// A message that is held.
pub(super) struct Held {
    /// Its place in the queue, from 0.
    pub(super) position: u64,
    holder: usize,
    delivery: Delivery,
}

/// The right to acknowledge a message that was held.
pub(super) struct Acknowledge {
    holder: usize,
    settle: Box<dyn FnOnce(Settlement) -> bool + Send>,
}

impl Held {
    /// The message.
    pub(super) fn received(&self) -> &Received {
        &self.delivery.received
    }

    /// Lets go of the right to acknowledge it: it goes back.
    pub(super) fn into_received(self) -> Received {
        self.delivery.split().0
    }

    /// Lets go of the message itself, and keeps the right to acknowledge it.
    pub(super) fn into_acknowledge(self) -> Acknowledge {
        Acknowledge { holder: self.holder, settle: Box::new(self.delivery.split().1) }
    }
}

impl Scan {
    /// Counts the messages of a queue, and sees none yet.
    pub(super) async fn start(
        transport: Arc<dyn Transport>,
        queue: QueueName,
        tell: Option<Tell>,
        lock: Lock,
    ) -> Result<Self, DeadLetterError> {
        let generation = transport.link().borrow().generation;
        let total = ready(&*transport, &queue).await?;
        let scan = Self {
            transport,
            queue,
            generation,
            holders: Vec::new(),
            room: 0,
            total,
            left: total,
            acknowledged: 0,
            bytes: 0,
            came_back: false,
            warned: false,
            tell,
            lock,
        };
        scan.tell();
        Ok(scan)
    }

    fn tell(&self) {
        if let Some(tell) = &self.tell {
            let Self { total, left, acknowledged, .. } = *self;
            tell(DeadLetterProgress { total, seen: total - left, done: acknowledged });
        }
    }

    /// How many messages there were at the start.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The next message; `None` when all that were there at the start have been seen.
    pub(super) async fn next(&mut self) -> Result<Option<Held>, DeadLetterError> {
        let (mut quiet, mut stalled) = (0, 0);
        while self.left > 0 {
            if self.room == 0 {
                self.open().await?;
            }
            let Some(holder) = self.holders.last_mut() else { break };
            match timeout(QUIET, holder.consumer.next()).await {
                Ok(Some(Ok(delivery))) => {
                    return Ok(Some(self.note(delivery)));
                }
                Ok(Some(Err(error))) => {
                    return Err(DeadLetterError::of_consuming(self.queue.as_str(), error));
                }
                Ok(None) => return Err(self.lost("the consumer ended")),
                Err(_elapsed) => match ready(&*self.transport, &self.queue).await? {
                    // Twice, for what is on its way. Somebody else took the rest, or it expired.
                    0 if quiet > 0 => self.left = 0,
                    0 => quiet += 1,
                    ready if stalled >= STALLED_AFTER => {
                        return Err(DeadLetterError::Stalled { queue: self.queue.to_string(), ready });
                    }
                    _ => stalled += 1,
                },
            }
        }
        Ok(None)
    }

    /// Acknowledges a message: it is done with.
    pub(super) fn acknowledge(&mut self, held: Held) -> Result<(), DeadLetterError> {
        // The message came over the last consumer, which has room again.
        self.room += 1;
        self.acknowledge_later(held.into_acknowledge())
    }

    /// Acknowledges one of those that were held; for after [`stop`](Self::stop).
    pub(super) fn acknowledge_later(&mut self, acknowledge: Acknowledge) -> Result<(), DeadLetterError> {
        if !(acknowledge.settle)(Settlement::Ack) {
            return Err(self.lost("the channel of the messages that were held is closed"));
        }
        self.holders[acknowledge.holder].held -= 1;
        self.acknowledged += 1;
        self.tell();
        Ok(())
    }

    /// Takes no more messages; what is held may still be acknowledged.
    pub(super) async fn stop(&mut self) {
        self.left = 0;
        for holder in &mut self.holders {
            holder.consumer.cancel().await;
        }
    }

    /// Ends the walk before its end.
    ///
    /// A quorum queue hands out first what came back to it, and puts it behind the others that did
    /// when it comes back again: taken in part, they would change places. So all of them are taken.
    pub(super) async fn leave(mut self) -> Result<(), DeadLetterError> {
        while self.came_back && self.next().await?.is_some() {}
        self.close().await
    }

    /// Ends the walk: what was not acknowledged is in its place again.
    pub(super) async fn close(mut self) -> Result<(), DeadLetterError> {
        // First all of them: one that may hold more would get what another gives back.
        self.stop().await;
        let holders = mem::take(&mut self.holders);
        let Self { transport, queue, lock, .. } = self;
        let back = give_back(&*transport, &queue, holders).await;
        let is_same = transport.link().borrow().generation == self.generation;
        lock.release().await;
        match back {
            Ok(()) if is_same => Ok(()),
            Ok(()) => Err(DeadLetterError::Interrupted {
                queue: queue.to_string(),
                done: self.acknowledged,
                reason: "it was made anew".to_owned(),
            }),
            Err(error) => Err(error.after(self.acknowledged)),
        }
    }

    fn note(&mut self, delivery: Delivery) -> Held {
        let received = &delivery.received;
        let position = self.total - self.left;
        self.left -= 1;
        self.tell();
        self.room -= 1;
        self.bytes += received.message.body.len() as u64;
        // Only quorum queues count.
        let deliveries = received.message.headers.get_int("x-delivery-count").unwrap_or(0);
        self.came_back = deliveries > 0;
        if deliveries >= MANY_DELIVERIES && !self.warned {
            self.warned = true;
            tracing::warn!(
                queue = %self.queue,
                deliveries,
                "each look counts as a delivery: a quorum queue that was declared without x-delivery-limit gives \
                 a message up after 20 of them on RabbitMQ 4"
            );
        }
        let holder = self.holders.len() - 1;
        self.holders[holder].held += 1;
        Held { position, holder, delivery }
    }

    async fn open(&mut self) -> Result<(), DeadLetterError> {
        let seen = self.total - self.left;
        let many = match (AHEAD * seen).checked_div(self.bytes) {
            None => FIRST,
            Some(many) => many,
        };
        let prefetch = u16::try_from(many.clamp(16, self.left.max(16)).min(self.left)).unwrap_or(u16::MAX);
        let request = ConsumeRequest {
            queue: self.queue.clone(),
            tag: format!("es-bus-dead-letters-{}", uuid::Uuid::new_v4()),
            prefetch,
            exclusive: false,
            may_hold: 0,
            offset: None,
        };
        let consumer = self.transport.consume(request).await;
        let consumer = consumer.map_err(|error| DeadLetterError::of_consuming(self.queue.as_str(), error))?;
        self.holders.push(Holder { consumer, held: 0 });
        self.room = u64::from(prefetch);
        Ok(())
    }

    fn lost(&self, reason: &str) -> DeadLetterError {
        DeadLetterError::Interrupted {
            queue: self.queue.to_string(),
            done: self.acknowledged,
            reason: reason.to_owned(),
        }
    }
}

/// Gives back what is held, in its order, and waits until others can see it.
///
/// A quorum queue learns from the end of a channel that its messages come back, a moment after the broker has
/// confirmed that end: were the next channel closed meanwhile, its messages could come before.
async fn give_back(
    transport: &dyn Transport,
    queue: &QueueName,
    holders: Vec<Holder>,
) -> Result<(), DeadLetterError> {
    let mut there = match holders.is_empty() {
        true => return Ok(()),
        false => ready(transport, queue).await,
    };
    let mut is_alone = true;
    for Holder { consumer, held } in holders {
        consumer.close().await;
        // Where others take what comes back, it would be waited for in vain each time.
        if let (true, Ok(before)) = (is_alone, &there) {
            let expected = before + held;
            there = until_there(transport, queue, expected).await;
            is_alone = there.as_ref().is_ok_and(|there| *there >= expected);
        }
    }
    there.map(drop)
}

/// Waits until so many are ready, and gives how many are. There are less when others take from the queue, or
/// when some expire.
async fn until_there(
    transport: &dyn Transport,
    queue: &QueueName,
    expected: u64,
) -> Result<u64, DeadLetterError> {
    let (mut most, mut since) = (0, Instant::now());
    loop {
        let there = ready(transport, queue).await?;
        if there > most {
            (most, since) = (there, Instant::now());
        }
        if there >= expected || since.elapsed() > BACK_WITHIN {
            return Ok(there);
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// How many messages of a queue are ready.
pub(super) async fn ready(transport: &dyn Transport, queue: &QueueName) -> Result<u64, DeadLetterError> {
    let name = || queue.to_string();
    match transport.queue_status(queue).await {
        Ok(Some(status)) => Ok(status.messages),
        Ok(None) | Err(DeclareError::Missing { .. }) => Err(DeadLetterError::NoQueue { queue: name() }),
        Err(DeclareError::Interrupted { reason, .. }) => {
            Err(DeadLetterError::Interrupted { queue: name(), done: 0, reason })
        }
        Err(
            DeclareError::Forbidden { reason, .. }
            | DeclareError::Refused { reason, .. }
            | DeclareError::NoPlugin { reason, .. }
            | DeclareError::Unmigrated { reason, .. }
            | DeclareError::Down { reason, .. }
            | DeclareError::Unanswered { reason, .. }
            | DeclareError::Mismatch { reason, .. },
        ) => {
            let source = ConsumeError::Refused { queue: name(), reason };
            Err(DeadLetterError::Refused { queue: name(), source })
        }
    }
}
