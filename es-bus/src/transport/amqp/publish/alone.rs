//! Messages on channels of their own, one in flight on each: those of which nobody could say which it is
//! when it comes back, and those that may cost their channel.
//!
//! What goes to one exchange and routing key shares a channel and waits for it in line. A call that is dropped
//! leaves its message in flight behind it: the next in line waits for its confirm first, or, when none
//! comes, throws the channel away.

use std::{
    future::poll_fn,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::FutureExt;
use lapin::{Channel, Confirmation, options::BasicPublishOptions};
use tokio::{
    sync::{Mutex, MutexGuard},
    time::timeout,
};

use super::{
    super::{classify, connect::Session},
    Job, open_channel,
};
use crate::{handler::BoxFuture, transport::PublishError};

/// How long the confirm of an abandoned publish is waited for before its channel is thrown away.
const ABANDONED: Duration = Duration::from_secs(2);
/// How many channels there are.
const CHANNELS: u64 = 32;

/// The channels.
pub(super) struct Alone {
    lines: Vec<Line>,
}

/// A channel and those who wait for it.
#[derive(Default)]
pub(super) struct Line {
    slot: Mutex<Slot>,
}

impl Alone {
    pub(super) fn new() -> Self {
        Self { lines: (0..CHANNELS).map(|_| Line::default()).collect() }
    }

    /// The channel for what goes there: where something is stuck, little else is.
    pub(super) fn line(&self, exchange: &str, routing_key: &str) -> &Line {
        let mut hasher = DefaultHasher::new();
        (exchange, routing_key).hash(&mut hasher);
        &self.lines[usize::try_from(hasher.finish() % CHANNELS).unwrap_or(0)]
    }

    /// Waits until nothing is in flight.
    pub(super) async fn flushed(&self) {
        for line in &self.lines {
            drop(line.slot.lock().await);
        }
    }
}

impl Line {
    /// Waits in line.
    pub(super) async fn turn(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().await
    }
}

/// One channel, and what is in flight on it.
///
/// What is in flight belongs to the slot and not to the caller, so that it outlives a call that is
/// dropped.
#[derive(Default)]
pub(super) struct Slot {
    generation: u64,
    channel: Option<Channel>,
    work: Option<Work>,
}

enum Work {
    Opening(BoxFuture<'static, lapin::Result<Channel>>),
    Publishing(BoxFuture<'static, lapin::Result<Confirmation>>),
}

impl Slot {
    pub(super) async fn publish(&mut self, session: &Arc<Session>, job: Job) -> Result<(), PublishError> {
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
        self.work = Some(Work::Opening(Box::pin(async move { open_channel(&session).await })));
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
