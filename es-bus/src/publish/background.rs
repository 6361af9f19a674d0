//! Events that are published while their publisher does something else.
//!
//! [`Publish::in_background`](super::Publish::in_background) hands a prepared event to the one task
//! that sends them, once there is room; the bus owns that task, and waits for it when it stops.
//! Killed, the process takes with it what is not yet confirmed.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    Prepared, PublishError, Publisher,
    lanes::{Done, Lane, Lanes},
    publisher::Patience,
};
use crate::telemetry::Counters;

/// An event that is published in the background: `.await` it for its confirm, or drop it, which
/// changes nothing.
///
/// A failure that nobody awaits is logged. Either way it is counted as
/// [`background_failed`](crate::telemetry::Counts::background_failed).
#[must_use = "a failure of the event is told to whoever awaits this; `drop` it to leave that to the log"]
pub struct PublishHandle {
    id: String,
    result: oneshot::Receiver<Result<(), PublishError>>,
}

impl fmt::Debug for PublishHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishHandle").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PublishHandle {
    /// The id that the event is published under.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Future for PublishHandle {
    /// The id of the event, once the broker has confirmed it.
    type Output = Result<String, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(Pin::new(&mut self.result).poll(cx));
        // Nobody is left to publish it: the runtime has ended.
        Poll::Ready(result.unwrap_or(Err(PublishError::Closed)).map(|()| self.id.clone()))
    }
}

impl Drop for PublishHandle {
    fn drop(&mut self) {
        if let Ok(Err(error)) = self.result.try_recv() {
            log(&self.id, &error);
        }
    }
}

fn log(event_id: &str, error: &PublishError) {
    tracing::error!(event_id, %error, "an event that was published in the background is lost");
}

/// The way in: how much room there is, and where accepted events go.
pub(super) struct Entrance {
    room: Arc<Semaphore>,
    limit: usize,
    counters: Arc<Counters>,
    accepted: mpsc::UnboundedSender<Accepted>,
    draining: CancellationToken,
}

/// An event that was taken.
struct Accepted {
    lane: Lane,
    prepared: Prepared,
    told: Told,
}

/// Who is told what became of an event, once; and the place that it takes up until then.
struct Told {
    event_id: String,
    result: Option<oneshot::Sender<Result<(), PublishError>>>,
    counters: Arc<Counters>,
    _place: OwnedSemaphorePermit,
}

impl Told {
    fn tell(&mut self, result: Result<(), PublishError>) {
        let Some(sender) = self.result.take() else { return };
        if result.is_err() {
            Counters::add(&self.counters.background_failed);
        }
        if let Err(Err(error)) = sender.send(result) {
            log(&self.event_id, &error);
        }
    }
}

/// Dropped on the way: the bus ends before the broker has confirmed it.
impl Drop for Told {
    fn drop(&mut self) {
        self.tell(Err(PublishError::Closed));
    }
}

/// The other end: what the task works on.
pub(crate) struct Background {
    accepted: mpsc::UnboundedReceiver<Accepted>,
    draining: CancellationToken,
}

/// Room for this many events.
pub(super) fn background(limit: usize, counters: Arc<Counters>) -> (Entrance, Background) {
    let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
    // As many as there is room for, at most.
    let (sender, accepted) = mpsc::unbounded_channel();
    let draining = CancellationToken::new();
    let room = Arc::new(Semaphore::new(limit));
    let entrance = Entrance { room, limit, counters, accepted: sender, draining: draining.clone() };
    (entrance, Background { accepted, draining })
}

impl Entrance {
    /// Waits for room, so long, and hands the event over.
    pub(super) async fn enter(
        &self,
        lane: Lane,
        prepared: Prepared,
        patience: Duration,
    ) -> Result<PublishHandle, PublishError> {
        let place = match timeout(patience, Arc::clone(&self.room).acquire_owned()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_closed)) => return Err(PublishError::Closed),
            Err(_elapsed) => return Err(PublishError::Backlog { limit: self.limit, after: patience }),
        };
        let id = prepared.event_id.clone();
        let (sender, result) = oneshot::channel();
        let counters = Arc::clone(&self.counters);
        let told = Told { event_id: id.clone(), result: Some(sender), counters, _place: place };
        if let Err(mpsc::error::SendError(mut refused)) =
            self.accepted.send(Accepted { lane, prepared, told })
        {
            // The caller is told here, and nobody else.
            refused.told.result = None;
            return Err(PublishError::Closed);
        }
        Ok(PublishHandle { id, result })
    }

    /// Takes no more; what was taken is still published.
    pub(super) fn drain(&self) {
        self.room.close();
        self.draining.cancel();
    }

    /// How many events are on their way.
    #[cfg(feature = "testing")]
    pub(super) fn under_way(&self) -> usize {
        self.limit - self.room.available_permits()
    }
}

impl Background {
    /// Publishes what is handed over, until the entrance is closed and nothing is left.
    ///
    /// # Cancel safety
    ///
    /// Dropped before, it tells whoever waits, and the log, that the rest is lost.
    pub(crate) async fn run(self, publisher: Publisher) {
        let Self { mut accepted, draining } = self;
        let mut lanes = Lanes::new(publisher, Patience::Endless);
        loop {
            tokio::select! {
                Some(done) = lanes.next() => {
                    let Done { lane, tag, result, .. } = done;
                    let mut told: Told = tag;
                    told.tell(result);
                    lanes.go_on(lane);
                }
                next = accepted.recv(), if !accepted.is_closed() || !accepted.is_empty() => {
                    if let Some(Accepted { lane, prepared, told }) = next {
                        lanes.push(lane, told, prepared);
                    }
                }
                () = draining.cancelled(), if !accepted.is_closed() => accepted.close(),
                else => return,
            }
        }
    }
}
