//! Publishes, each message with a verdict of its own.
//!
//! A pool of channels in confirm mode, with one message in flight on each. lapin gives a returned
//! message to whichever confirm resolves next, so with two in flight an unroutable one could be
//! taken for stored (measured: up to 14 in 500, silently lost); with one it cannot.
//!
//! Publications of one lane share a channel and wait for it in line. A call that is dropped leaves
//! its message in flight behind it: the next in line waits for its confirm first, or, when none
//! comes, throws the channel away.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};

use super::{
    classify,
    connect::{Session, Sessions},
    convert,
};
use crate::{
    handler::BoxFuture,
    message::Message,
    transport::{Publication, PublishError},
    wire,
};

/// How long the confirm of an abandoned publish is waited for before its channel is thrown away.
const ABANDONED: Duration = Duration::from_secs(2);
/// How long publishes in flight are waited for when the program ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The pool of channels.
pub(super) struct Publisher {
    sessions: Sessions,
    lines: Vec<Line>,
    closed: AtomicBool,
}

/// A channel and those who wait for it.
#[derive(Default)]
struct Line {
    slot: Mutex<Slot>,
    waiting: AtomicUsize,
}

impl Publisher {
    pub(super) fn new(sessions: Sessions, channels: usize) -> Self {
        let lines = std::iter::repeat_with(Line::default).take(channels.max(1)).collect();
        Self { sessions, lines, closed: AtomicBool::new(false) }
    }

    pub(super) async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(PublishError::Closed);
        }
        let session = self.sessions.current().map_err(|reason| PublishError::Interrupted { reason })?;
        let job = Job::new(publication, session.frame_max())?;
        tokio::select! {
            // A verdict that is there counts, even when the connection is gone since.
            biased;
            verdict = async {
                let mut slot = self.turn(job.lane).await;
                if self.closed.load(Ordering::Acquire) {
                    return Err(PublishError::Closed);
                }
                slot.publish(&session, job).await
            } => verdict,
            () = session.lost.cancelled() => Err(PublishError::Interrupted { reason: session.reason() }),
        }
    }

    /// Takes no more, and waits for what is in flight.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let flushed = async {
            for line in &self.lines {
                drop(line.slot.lock().await);
            }
        };
        if timeout(CLOSE_TIMEOUT, flushed).await.is_err() {
            tracing::warn!("publishes are given up that the broker has not confirmed");
        }
    }

    /// A channel of the pool: always the same one for a lane, else one that is free.
    async fn turn(&self, lane: Option<u64>) -> MutexGuard<'_, Slot> {
        let line = match lane {
            Some(lane) => {
                // Lanes may be small numbers; the multiplication (Fibonacci hashing) spreads them.
                let mixed = lane.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
                let count = self.lines.len() as u64;
                &self.lines[usize::try_from(mixed % count).unwrap_or(0)]
            }
            None => {
                // From the front, so that no more channels are opened than are busy at once.
                if let Some(slot) = self.lines.iter().find_map(|line| line.slot.try_lock().ok()) {
                    return slot;
                }
                let waiting = |line: &&Line| line.waiting.load(Ordering::Relaxed);
                self.lines.iter().min_by_key(waiting).unwrap_or(&self.lines[0])
            }
        };
        // Also taken back when the caller leaves.
        let _waiting = Waiting::new(&line.waiting);
        line.slot.lock().await
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A publication in lapin's terms.
struct Job {
    exchange: ShortString,
    routing_key: ShortString,
    properties: BasicProperties,
    body: Bytes,
    mandatory: bool,
    lane: Option<u64>,
}

impl Job {
    fn new(publication: Publication, frame_max: usize) -> Result<Self, PublishError> {
        let Publication { exchange, routing_key, message, mandatory, lane } = publication;
        wire::check_sizes(
            exchange.as_str(),
            &routing_key,
            &message,
            wire::header_limit(frame_max),
            // What others published has to go to a retry queue, however large it is.
            usize::MAX,
        )?;
        let exchange = convert::short("the name of the exchange", exchange.as_str())?;
        let routing_key = convert::short("the routing key", &routing_key)?;
        let properties = convert::properties(&message)?;
        let Message { body, .. } = message;
        Ok(Self { exchange, routing_key, properties, body, mandatory, lane })
    }
}

/// One channel, and what is in flight on it.
///
/// What is in flight belongs to the slot and not to the caller, so that it outlives a call that is
/// dropped.
#[derive(Default)]
struct Slot {
    generation: u64,
    channel: Option<Channel>,
    work: Option<Work>,
}

enum Work {
    Opening(BoxFuture<'static, lapin::Result<Channel>>),
    Publishing(BoxFuture<'static, lapin::Result<Confirmation>>),
}

impl Slot {
    async fn publish(&mut self, session: &Arc<Session>, job: Job) -> Result<(), PublishError> {
        if self.generation != session.generation {
            *self = Self { generation: session.generation, ..Self::default() };
        }
        self.clear(session).await;
        let interrupted = |error: &lapin::Error| PublishError::Interrupted { reason: classify::text(error) };
        let channel = self.channel(session).await.map_err(|error| interrupted(&error))?;

        let Job { exchange, routing_key, properties, body, mandatory, .. } = job;
        let names = (exchange.clone(), routing_key.clone());
        self.work = Some(Work::Publishing(Box::pin(async move {
            let options = BasicPublishOptions { mandatory, immediate: false };
            channel.basic_publish(exchange, routing_key, options, &body, properties).await?.await
        })));
        let (exchange, routing_key) = (names.0.to_string(), names.1.to_string());
        match self.finish().await {
            Ok(Some(Confirmation::Ack(None))) => Ok(()),
            Ok(Some(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)))) => {
                Err(PublishError::Unroutable { exchange, routing_key })
            }
            Ok(Some(Confirmation::Nack(None))) => {
                // To this channel the queue would stay full also when its limit is lifted: it is told
                // when there is room again, and a queue without a limit has nothing to tell.
                // A channel that meets a queue just when its leader has died goes on to ask the dead node, and
                // refuses everything until that is back (seen on RabbitMQ 3.10).
                self.replace();
                Err(PublishError::Refused { exchange, routing_key })
            }
            Err(error) => Err(classify::publish(&error, &exchange)),
            // Neither happens: the channel was put into confirm mode, and this was a publish.
            Ok(Some(Confirmation::NotRequested) | None) => {
                Err(PublishError::Interrupted { reason: "the channel gave no confirmation".to_owned() })
            }
        }
    }

    /// Waits for what a dropped call left in flight, or gets rid of it.
    async fn clear(&mut self, session: &Session) {
        while self.work.is_some() {
            if timeout(ABANDONED, self.finish()).await.is_err() && !session.is_blocked() {
                // A blocked connection would not even write that the channel is to be closed: the
                // message is still ahead of us, and will be confirmed when it goes on.
                tracing::debug!("a channel is thrown away whose publish was abandoned");
                self.work = None;
                self.replace();
            }
        }
    }

    /// Throws the channel away; the next publish opens another.
    fn replace(&mut self) {
        if let Some(channel) = self.channel.take() {
            // Not left to lapin's destructor: one that fails ends the connection.
            tokio::spawn(async move {
                let _ = channel.close(200, "OK".into()).await;
            });
        }
    }

    /// The channel, opened when there is none.
    async fn channel(&mut self, session: &Arc<Session>) -> lapin::Result<Channel> {
        if let Some(channel) = self.channel.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        let session = session.clone();
        self.work = Some(Work::Opening(Box::pin(async move {
            let channel = session.connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(channel)
        })));
        self.finish().await?;
        self.channel.clone().ok_or_else(|| lapin::ErrorKind::FutureCompleted.into())
    }

    /// Waits for what is in flight: the confirmation of a publish, or a new channel, which is kept.
    /// A dropped call leaves it there.
    async fn finish(&mut self) -> lapin::Result<Option<Confirmation>> {
        let Self { channel, work, .. } = self;
        let done = poll_fn(|cx| match work {
            Some(Work::Opening(opening)) => opening.poll_unpin(cx).map_ok(|opened| {
                *channel = Some(opened);
                None
            }),
            Some(Work::Publishing(publishing)) => publishing.poll_unpin(cx).map_ok(Some),
            None => Poll::Ready(Ok(None)),
        })
        .await;
        self.work = None;
        if done.is_err() {
            // The error was that of the channel.
            self.channel = None;
        }
        done
    }
}
