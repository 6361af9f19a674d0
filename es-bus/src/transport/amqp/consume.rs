//! Consumes, and settles what was delivered.
//!
//! Each consumer has a channel to itself. Settlements are collected and told in batches by one
//! task per consumer; three times the throughput of an awaited acknowledgement per delivery
//! (measured).

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{StreamExt, future::maybe_done, stream};
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    ack::{Command, Tracker},
    classify,
    connect::{Session, Sessions},
    convert,
};
use crate::{
    handler::BoxFuture,
    model::StreamOffset,
    transport::{ConsumeError, ConsumeRequest, Consumer, Delivery, Settle, Settlement},
};

/// How long a settlement waits for others, at most.
const FLUSH_AFTER: Duration = Duration::from_millis(5);
/// How many settlements are told at once, at most (more wins nothing: measured).
const FLUSH_AT: usize = 64;
/// How long nothing is told until the broker may send no more, at most.
const FILL_WITHIN: Duration = Duration::from_millis(50);
/// How often that is tried, at most.
const FILL_PAUSE: Duration = Duration::from_secs(1);
/// How often a channel is looked at, beside what its consumer says.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long the broker has to answer that a consumer or a channel ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Starts a consumer.
pub(super) async fn start(
    sessions: &Sessions,
    request: ConsumeRequest,
) -> Result<(Consumer, Weak<Settler>), ConsumeError> {
    let session = sessions.current().map_err(|reason| ConsumeError::Interrupted { reason })?;
    let queue = request.queue.as_str().to_owned();
    let refused = |error: crate::wire::TooLarge| ConsumeError::Refused {
        queue: queue.clone(),
        reason: format!("{} has {} bytes, at most {}", error.what, error.size, error.limit),
    };
    let name = convert::short("the name of the queue", &queue).map_err(refused)?;
    let tag = convert::short("the consumer tag", &request.tag).map_err(refused)?;
    let (prefetch, may_hold) = (request.prefetch.max(1), request.may_hold);
    let (arguments, is_stream) = (stream_arguments(request.offset), request.offset.is_some());
    let options = BasicConsumeOptions { exclusive: request.exclusive, ..BasicConsumeOptions::default() };
    // A task of its own: a call that is dropped leaves neither channel nor consumer to lapin's
    // destructors (see `Reader`), but a whole consumer to ours.
    let starting = tokio::spawn(async move {
        let started = async {
            let channel = session.connection.create_channel().await?;
            channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
            let deliveries = channel.basic_consume(name, tag.clone(), options, arguments).await?;
            Ok((channel, deliveries))
        };
        let (channel, deliveries) = tokio::select! {
            biased;
            started = started => started.map_err(|error| classify::consume(&error, &queue))?,
            () = session.lost.cancelled() => {
                return Err(ConsumeError::Interrupted { reason: session.reason() });
            }
        };
        Ok(assemble(session, queue, tag, (prefetch, may_hold, is_stream), channel, deliveries))
    });
    starting.await.unwrap_or_else(|join| Err(ConsumeError::Interrupted { reason: join.to_string() }))
}

/// Where a consumer of a stream begins.
fn stream_arguments(offset: Option<StreamOffset>) -> FieldTable {
    let mut table = FieldTable::default();
    if let Some(offset) = offset {
        let value = match offset {
            StreamOffset::First | StreamOffset::Last | StreamOffset::Next => {
                AMQPValue::LongString(offset.to_string().into())
            }
            StreamOffset::Offset(offset) => AMQPValue::LongLongInt(i64::try_from(offset).unwrap_or(i64::MAX)),
            StreamOffset::Timestamp(seconds) => AMQPValue::Timestamp(seconds),
        };
        table.insert("x-stream-offset".into(), value);
    }
    table
}

fn assemble(
    session: Arc<Session>,
    queue: String,
    tag: ShortString,
    (prefetch, may_hold, is_stream): (u16, usize, bool),
    channel: Channel,
    deliveries: lapin::Consumer,
) -> (Consumer, Weak<Settler>) {
    let shared = Arc::new(Shared {
        queue,
        tag,
        channel,
        lost: Arc::new(session.lost.child_token()),
        ending: tokio::sync::Mutex::default(),
        telling: tokio::sync::Mutex::default(),
        session,
        tracker: Mutex::default(),
        // Twice, with some in hand for longer: while the broker answers one flush, the next is made.
        flush_at: (usize::from(prefetch) * 2 / 5).clamp(1, FLUSH_AT),
        prefetch,
        is_stream,
        may_hold,
        held: AtomicUsize::new(0),
        taken: AtomicU64::new(0),
        leaving: Mutex::default(),
        is_filling: AtomicBool::new(false),
        more: Notify::new(),
        left: AtomicBool::new(false),
        some: Notify::new(),
        enough: Notify::new(),
        stop: CancellationToken::new(),
        cancelled: AtomicBool::new(false),
    });
    let flusher = tokio::spawn(flush_until_stopped(shared.clone()));
    let settler = Arc::new(Settler { shared: shared.clone(), flusher: Mutex::new(Some(flusher)) });
    let weak = Arc::downgrade(&settler);
    let reader = Reader { deliveries: Some(deliveries), shared, settler: settler.clone() };
    (Consumer::new(stream(reader), settler), weak)
}

/// What the stream, the settler and the flusher of a consumer share.
struct Shared {
    queue: String,
    tag: ShortString,
    channel: Channel,
    /// Held while the consumer is cancelled or the channel closed: a cancel on its way when the
    /// channel closes is an error for the whole connection.
    ending: tokio::sync::Mutex<()>,
    /// Held from when it is decided what to tell the broker until that is queued: in another order a `multiple`
    /// could name a tag that is settled by then, which closes the channel.
    telling: tokio::sync::Mutex<()>,
    session: Arc<Session>,
    /// Cancelled when the channel is gone, with the connection or alone.
    lost: Arc<CancellationToken>,
    tracker: Mutex<Tracker>,
    flush_at: usize,
    prefetch: u16,
    /// A stream gives nothing back: to say so would end the connection (540, measured on 3.10).
    is_stream: bool,
    /// With how many deliveries held the consumer ends by itself, at most.
    may_hold: usize,
    /// How many deliveries are in the way of a `multiple`, and have been for long.
    held: AtomicUsize,
    /// The tag of the last delivery.
    taken: AtomicU64,
    leaving: Mutex<Leaving>,
    /// Whether nothing is told until the broker may send no more.
    is_filling: AtomicBool,
    /// A delivery came meanwhile.
    more: Notify,
    /// Whether the consumer was ended so that another goes on.
    left: AtomicBool,
    /// There is something to flush.
    some: Notify,
    /// There is enough to flush at once.
    enough: Notify,
    /// Cancelled when nothing will be settled any more.
    stop: CancellationToken,
    /// Whether this program has asked for no more deliveries.
    cancelled: AtomicBool,
}

/// Whether the consumer is to end when nothing is on its way to it, and when that was tried last.
#[derive(Default)]
struct Leaving {
    is_asked: bool,
    tried: Option<Instant>,
}

impl Shared {
    fn is_alive(&self) -> bool {
        self.channel.status().connected() && !self.session.lost.is_cancelled()
    }

    /// Says so when the channel is gone.
    fn look(&self) {
        if !self.is_alive() {
            self.lost.cancel();
        }
    }

    /// Why the stream ended, when nobody has said.
    fn ended(&self) -> ConsumeError {
        if self.session.lost.is_cancelled() {
            ConsumeError::Interrupted { reason: self.session.reason() }
        } else if self.channel.status().connected() {
            ConsumeError::Cancelled { queue: self.queue.clone() }
        } else {
            ConsumeError::ChannelClosed {
                queue: self.queue.clone(),
                reason: "the broker closed it".to_owned(),
            }
        }
    }

    /// Tells the broker what is settled, and waits until that is written.
    async fn flush(&self) {
        let telling = self.telling.lock().await;
        let commands = {
            let now = Instant::now();
            let mut tracker = self.tracker.lock().unwrap_or_else(PoisonError::into_inner);
            let commands = tracker.flush(now);
            self.held.store(tracker.held(self.prefetch, now), Ordering::Relaxed);
            commands
        };
        let mut writes: Vec<_> =
            commands.into_iter().map(|command| Box::pin(maybe_done(self.tell(command)))).collect();
        // lapin queues a method when its future is first polled: in this order, then.
        poll_fn(|cx| {
            for write in &mut writes {
                let _ = write.as_mut().poll(cx);
            }
            Poll::Ready(())
        })
        .await;
        drop(telling);
        let written = async {
            for write in writes {
                write.await;
            }
        };
        tokio::select! {
            () = written => {}
            () = self.session.lost.cancelled() => {}
        }
    }

    /// Whether another consumer had better go on, and it may be tried to end this one.
    fn is_to_leave(&self, now: Instant) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        let is_held_up = held > 0 && held <= self.may_hold;
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_held_up && !leaving.is_asked {
            return false;
        }
        let may_try = leaving.tried.is_none_or(|tried| now.duration_since(tried) >= FILL_PAUSE);
        if may_try {
            leaving.tried = Some(now);
        }
        may_try && !self.cancelled.load(Ordering::Acquire)
    }

    /// Ends the consumer when the broker may send it no more: a quorum queue takes back what is on its way to a
    /// consumer that is cancelled, and it comes again as if somebody had had it in hand (measured on 3.10).
    async fn leave_when_full(&self) {
        let told = self.tracker.lock().unwrap_or_else(PoisonError::into_inner).told();
        let full = told + u64::from(self.prefetch);
        self.is_filling.store(true, Ordering::SeqCst);
        let filled = async {
            while self.taken.load(Ordering::SeqCst) < full {
                self.more.notified().await;
            }
        };
        let is_full = tokio::select! {
            filled = timeout(FILL_WITHIN, filled) => filled.is_ok(),
            () = self.stop.cancelled() => false,
            () = self.lost.cancelled() => false,
        };
        self.is_filling.store(false, Ordering::SeqCst);
        if is_full {
            self.left.store(true, Ordering::Release);
            self.cancel().await;
        }
    }

    /// Ends the consumer, once; the channel stays.
    async fn cancel(&self) {
        let _ending = self.ending.lock().await;
        if self.cancelled.swap(true, Ordering::AcqRel) || !self.is_alive() {
            return;
        }
        let cancel = self.channel.basic_cancel(self.tag.clone(), BasicCancelOptions { nowait: false });
        patient(self, "basic.cancel", cancel).await;
    }

    /// Closes the channel, once.
    async fn shut(&self) {
        let _ending = self.ending.lock().await;
        self.cancelled.store(true, Ordering::Release);
        if self.is_alive() {
            patient(self, "channel.close", self.channel.close(200, "OK".into())).await;
        }
        self.lost.cancel();
    }

    async fn tell(&self, command: Command) {
        let told = match command {
            Command::Ack { tag, multiple } => self.channel.basic_ack(tag, BasicAckOptions { multiple }).await,
            Command::Nack { tag, requeue } => {
                let options = BasicNackOptions { multiple: false, requeue };
                self.channel.basic_nack(tag, options).await
            }
        };
        if let Err(error) = told {
            // The broker delivers again what it has not heard of.
            tracing::debug!(queue = self.queue, "not settled: {}", classify::text(&error));
        }
    }
}

/// The reading end of a consumer.
///
/// lapin's destructors cancel a consumer and close a channel in tasks of their own, in any order, and
/// take a cancel that finds the channel closed for an error of the *connection*, which ends every
/// consumer on it. So both are done here, one after the other, before lapin's come to it.
struct Reader {
    deliveries: Option<lapin::Consumer>,
    shared: Arc<Shared>,
    settler: Arc<Settler>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        let (shared, deliveries) = (self.shared.clone(), self.deliveries.take());
        if shared.is_alive()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move {
                shared.cancel().await;
                drop(deliveries);
            });
        }
    }
}

/// The deliveries, then the reason why there are no more.
fn stream(reader: Reader) -> stream::BoxStream<'static, Result<Delivery, ConsumeError>> {
    let lost = Box::pin(reader.shared.session.lost.clone().cancelled_owned());
    Box::pin(stream::unfold((Some(reader), lost), async |(reader, mut lost)| {
        let mut reader = reader?;
        let next = poll_fn(|cx| reader.poll_next(lost.as_mut(), cx)).await?;
        let reader = next.is_ok().then_some(reader);
        Some((next, (reader, lost)))
    }))
}

impl Reader {
    /// The next delivery, or why there are no more; `None` where this program asked for no more.
    fn poll_next(
        &mut self,
        lost: Pin<&mut WaitForCancellationFutureOwned>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Delivery, ConsumeError>>> {
        let Some(deliveries) = self.deliveries.as_mut() else { return Poll::Ready(None) };
        let shared = &*self.shared;
        let error = loop {
            match deliveries.poll_next_unpin(cx) {
                // What a lost connection has left behind will be delivered again, and nobody could settle it.
                Poll::Ready(Some(Ok(_))) if !shared.is_alive() => {}
                Poll::Ready(Some(Ok(delivery))) => {
                    let tag = delivery.delivery_tag;
                    shared.taken.store(tag, Ordering::SeqCst);
                    if shared.is_filling.load(Ordering::SeqCst) {
                        shared.more.notify_one();
                    }
                    let settler = Arc::clone(&self.settler) as Arc<dyn Settle>;
                    let delivery = Delivery::new(convert::received(delivery), tag, settler);
                    return Poll::Ready(Some(Ok(delivery)));
                }
                Poll::Ready(Some(Err(_))) if shared.session.lost.is_cancelled() => break shared.ended(),
                Poll::Ready(Some(Err(error))) => break classify::consumer_ended(&error, &shared.queue),
                Poll::Ready(None) if shared.cancelled.load(Ordering::Acquire) => return Poll::Ready(None),
                // The broker has done it itself.
                Poll::Ready(None) => break shared.ended(),
                Poll::Pending => match lost.poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(()) if shared.cancelled.load(Ordering::Acquire) => return Poll::Ready(None),
                    Poll::Ready(()) => break shared.ended(),
                },
            }
        };
        shared.cancelled.store(true, Ordering::Release);
        shared.look();
        Poll::Ready(Some(Err(error)))
    }
}

/// Flushes until there is nothing more to come.
async fn flush_until_stopped(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            biased;
            () = shared.lost.cancelled() => return,
            () = shared.stop.cancelled() => break,
            () = shared.some.notified() => {}
            () = sleep(LOOK_INTERVAL) => {
                shared.look();
                continue;
            }
        }
        tokio::select! {
            () = shared.stop.cancelled() => break,
            () = shared.enough.notified() => {}
            () = sleep(FLUSH_AFTER) => {}
        }
        shared.flush().await;
        if shared.is_to_leave(Instant::now()) {
            shared.leave_when_full().await;
            shared.flush().await;
        }
    }
    shared.flush().await;
    shared.shut().await;
}

/// The side of a consumer that settles.
pub(super) struct Settler {
    shared: Arc<Shared>,
    flusher: Mutex<Option<JoinHandle<()>>>,
}

impl Settle for Settler {
    fn settle(&self, tag: u64, settlement: Settlement) -> bool {
        let shared = &*self.shared;
        let settlement = if shared.is_stream { Settlement::Ack } else { settlement };
        let count = {
            let mut tracker = shared.tracker.lock().unwrap_or_else(PoisonError::into_inner);
            // Under the lock: the last flush comes after the stop.
            if shared.stop.is_cancelled() || !shared.is_alive() {
                return false;
            }
            tracker.settle(tag, settlement)
        };
        if count == 1 {
            shared.some.notify_one();
        }
        if count >= shared.flush_at {
            shared.enough.notify_one();
        }
        true
    }

    fn lost(&self) -> &Arc<CancellationToken> {
        &self.shared.lost
    }

    fn held(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }

    fn leave(&self) {
        self.shared.leaving.lock().unwrap_or_else(PoisonError::into_inner).is_asked = true;
    }

    fn has_left(&self) -> bool {
        self.shared.left.load(Ordering::Acquire)
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let shared = &*self.shared;
            shared.flush().await;
            // The answer comes after the broker has done what came before.
            let last = shared.channel.basic_qos(shared.prefetch, BasicQosOptions { global: false });
            if shared.is_alive() {
                patient(shared, "basic.qos", last).await;
            }
        })
    }

    fn cancel(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.cancel())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let shared = &*self.shared;
            {
                let _tracker = shared.tracker.lock().unwrap_or_else(PoisonError::into_inner);
                shared.stop.cancel();
            }
            let flusher = self.flusher.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(mut flusher) = flusher
                && timeout(CLOSE_TIMEOUT, &mut flusher).await.is_err()
            {
                tracing::warn!(queue = shared.queue, "settlements are given up that could not be written");
                flusher.abort();
            }
            shared.shut().await;
        })
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        // The flusher tells what is settled, and closes the channel.
        self.shared.stop.cancel();
    }
}

/// Waits for the broker's answer, but not for ever.
async fn patient(shared: &Shared, method: &str, answer: impl Future<Output = lapin::Result<()>>) {
    let mut answer = pin!(answer);
    tokio::select! {
        answered = timeout(CLOSE_TIMEOUT, &mut answer) => match answered {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(queue = shared.queue, method, "{}", classify::text(&error)),
            Err(_) => tracing::warn!(queue = shared.queue, method, "the broker does not answer"),
        },
        () = shared.session.lost.cancelled() => {}
    }
}
