//! Publishes, each message with a verdict of its own.
//!
//! Many are in flight at once on one channel, the [`Window`]. Two faults of one message would hit all others
//! with it: the broker closes the channel over it (there is no such exchange), or stands still over it (a
//! channel that meets a quorum queue without a majority first does nothing else for 65 seconds, on RabbitMQ
//! 3.10 to 4.0). So a message goes with others only if one to the same exchange and routing key came through
//! on this channel, or did [`Alone`] just before. When the channel is closed all the same, what was in flight
//! on it is sent again alone.

mod alone;
mod window;

use std::{
    collections::HashMap,
    mem,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use lapin::{BasicProperties, Channel, options::ConfirmSelectOptions, types::ShortString};
use tokio::{
    sync::Mutex as Turn,
    task::JoinHandle,
    time::{Instant, timeout},
};

use self::{
    alone::Alone,
    window::{Flying, Verdict, Window},
};
use super::{
    classify,
    connect::{Session, Sessions},
    convert,
};
use crate::{
    transport::{Publication, PublishError},
    wire,
};

/// How long publishes in flight are waited for when the program ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How many windows are left behind because they are slow.
const MOST_SLOW: usize = 4;
/// How many windows that take no more are waited for. Beyond that the oldest is closed, with what is in
/// flight on it.
const MOST_RETIRED: usize = 16;
/// For how long it counts that a message came through alone.
const PROVEN_FOR: Duration = Duration::from_secs(5);
/// Of how many places that is remembered. Keys with fields in them could be any number.
const MOST_PLACES: usize = 1000;

/// Publishes over one connection.
pub(super) struct Publisher {
    sessions: Sessions,
    windows: Arc<Windows>,
    alone: Alone,
    /// Whose turn it is to be sent.
    turn: Turn<()>,
    closed: AtomicBool,
}

impl Publisher {
    /// A publisher with so many messages in flight on a channel.
    pub(super) fn new(sessions: Sessions, window: usize) -> Self {
        Self {
            sessions,
            windows: Arc::new(Windows::new(window.max(1))),
            turn: Turn::default(),
            alone: Alone::new(),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) async fn publish(&self, publication: &Publication) -> Result<(), PublishError> {
        self.unless_closed()?;
        let session = self.sessions.current().map_err(|reason| PublishError::Interrupted { reason })?;
        // Pinned first: `select!` would hold it twice, for each publish in flight.
        let mut verdict = pin!(self.publish_on(&session, publication));
        tokio::select! {
            // A verdict that is there counts, even when the connection is gone since.
            biased;
            verdict = &mut verdict => verdict,
            () = session.lost.cancelled() => Err(PublishError::Interrupted { reason: session.reason() }),
        }
    }

    async fn publish_on(
        &self,
        session: &Arc<Session>,
        publication: &Publication,
    ) -> Result<(), PublishError> {
        let (exchange, routing_key) = (publication.exchange.as_str(), &*publication.routing_key);
        let names = || (exchange.to_owned(), routing_key.to_owned());
        let mut job = Job::new(publication, session.frame_max())?;
        // Without an id nobody could say whose message came back.
        let mut has_to_be_alone = job.properties.message_id().is_none();
        loop {
            let flying = match has_to_be_alone {
                true => None,
                false => self.send(session, &mut job).await?,
            };
            let Some(flying) = flying else {
                let mut slot = self.alone.line(exchange, routing_key).turn().await;
                if !has_to_be_alone && self.windows.is_proven(&job) {
                    // While it waited for its turn, another has shown that all is well there.
                    continue;
                }
                self.unless_closed()?;
                // Boxed: it is rare, and larger than all else that a publish in flight holds.
                let verdict = Box::pin(slot.publish(session, job)).await;
                if let Ok(()) | Err(PublishError::Unroutable { .. }) = verdict {
                    self.windows.proven(exchange, routing_key);
                }
                return verdict;
            };
            match flying.land().await {
                Verdict::Stored => return Ok(()),
                Verdict::Unroutable => {
                    let (exchange, routing_key) = names();
                    return Err(PublishError::Unroutable { exchange, routing_key });
                }
                Verdict::Refused => {
                    self.windows.unproven(exchange, routing_key);
                    let (exchange, routing_key) = names();
                    return Err(PublishError::Refused { exchange, routing_key });
                }
                Verdict::Failed(error) if !session.connection.status().connected() => {
                    return Err(classify::publish(&error, exchange));
                }
                // The broker closed the channel, over this message or over another. Were it sent among others
                // again, it might close that one as well.
                Verdict::Failed(_) => {
                    self.windows.unproven(exchange, routing_key);
                    job = Job::new(publication, session.frame_max())?;
                    has_to_be_alone = true;
                }
            }
        }
    }

    /// Sends a message among others, in its turn; gives none where it has to go alone.
    async fn send(&self, session: &Arc<Session>, job: &mut Job) -> Result<Option<Flying>, PublishError> {
        loop {
            // Who comes first is sent first.
            let turn = self.turn.lock().await;
            let way = self.windows.way(session, job).await;
            let way = way.map_err(|error| PublishError::Interrupted { reason: classify::text(&error) })?;
            let window = match way {
                Way::Alone => return Ok(None),
                Way::Sent(flying) => return Ok(Some(flying)),
                Way::With(window) => window,
            };
            // What has to go behind what is stuck holds nobody else up.
            let turn = window.is_open().then_some(turn);
            let room = window.room(job.body.len(), session, self.windows.may_leave()).await;
            self.unless_closed()?;
            match room {
                Some(room) => return Ok(Some(window.send(mem::take(job), room))),
                None => window.retire(),
            }
            drop(turn);
        }
    }

    /// Takes no more, and waits for what is in flight.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let flushed = async {
            for window in self.windows.all() {
                window.flushed().await;
            }
            self.alone.flushed().await;
        };
        if timeout(CLOSE_TIMEOUT, flushed).await.is_err() {
            tracing::warn!("publishes are given up that the broker has not confirmed");
        }
    }

    fn unless_closed(&self) -> Result<(), PublishError> {
        if self.closed.load(Ordering::Acquire) { Err(PublishError::Closed) } else { Ok(()) }
    }
}

/// How a message goes.
enum Way {
    /// On a window, behind what that has in flight.
    With(Arc<Window>),
    /// It is in flight already: a call that was dropped sent it.
    Sent(Flying),
    /// Alone.
    Alone,
}

/// The windows of a connection: one that is published on, and those that take no more.
struct Windows {
    size: usize,
    open: Mutex<Open>,
    /// Where a message came through alone, and when.
    proven: Mutex<HashMap<(String, String), Instant>>,
}

#[derive(Default)]
struct Open {
    generation: u64,
    current: Option<Arc<Window>>,
    retired: Vec<Arc<Window>>,
}

impl Windows {
    fn new(size: usize) -> Self {
        Self { size, open: Mutex::default(), proven: Mutex::default() }
    }

    /// The way of a message.
    async fn way(self: &Arc<Self>, session: &Arc<Session>, job: &mut Job) -> lapin::Result<Way> {
        if let Some(way) = self.find(session, job) {
            return Ok(way);
        }
        let opened = self.open_next(session).await;
        opened.unwrap_or_else(|_cancelled| Err(lapin::ErrorKind::FutureCompleted.into())).map(Way::With)
    }

    fn find(&self, session: &Session, job: &mut Job) -> Option<Way> {
        let mut open = self.open();
        if open.generation != session.generation {
            // With the connection its channels are gone.
            *open = Open { generation: session.generation, ..Open::default() };
        }
        let Open { current, retired, .. } = &mut *open;
        if let Some(done) = current.take_if(|window| !window.is_open()) {
            retired.push(done);
        }
        if !retired.is_empty() {
            retired.retain(|window| {
                let is_empty = window.is_empty();
                if is_empty {
                    window.close();
                }
                !is_empty
            });
            if retired.len() > MOST_RETIRED {
                retired.remove(0).close();
            }
        }
        let connected = || current.iter().chain(retired.iter()).filter(|window| window.is_connected());
        if let Some(flying) = connected().find_map(|window| window.adopt(job)) {
            return Some(Way::Sent(flying));
        }
        let carries = |window: &&Arc<Window>| job.lane.is_some_and(|lane| window.carries(lane));
        if let Some(window) = retired.iter().filter(|window| window.is_connected()).find(carries) {
            return Some(Way::With(Arc::clone(window)));
        }
        job.is_known = current.as_ref().is_some_and(|window| window.has_confirmed(job));
        if !job.is_known && !self.is_proven(job) {
            return Some(Way::Alone);
        }
        current.clone().map(Way::With)
    }

    /// Whether a message came through alone to where this one goes, just now.
    fn is_proven(&self, job: &Job) -> bool {
        let place = (job.exchange.to_string(), job.routing_key.to_string());
        self.places().get(&place).is_some_and(|at| at.elapsed() < PROVEN_FOR)
    }

    fn proven(&self, exchange: &str, routing_key: &str) {
        let mut places = self.places();
        if places.len() >= MOST_PLACES {
            places.clear();
        }
        places.insert((exchange.to_owned(), routing_key.to_owned()), Instant::now());
    }

    fn unproven(&self, exchange: &str, routing_key: &str) {
        self.places().remove(&(exchange.to_owned(), routing_key.to_owned()));
    }

    fn places(&self) -> MutexGuard<'_, HashMap<(String, String), Instant>> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the window that is published on from now on.
    ///
    /// In a task of its own, which a dropped call leaves alone: a channel that is half open is of no use.
    fn open_next(self: &Arc<Self>, session: &Arc<Session>) -> JoinHandle<lapin::Result<Arc<Window>>> {
        let (windows, session) = (Arc::clone(self), Arc::clone(session));
        tokio::spawn(async move {
            let window = Arc::new(Window::new(open_channel(&session).await?, windows.size));
            let mut open = windows.open();
            if open.generation == session.generation {
                // There is one where a call was dropped that opened it.
                let other = open.current.replace(Arc::clone(&window));
                open.retired.extend(other.inspect(|other| other.retire()));
            } else {
                window.close();
            }
            drop(open);
            Ok(window)
        })
    }

    /// Whether a slow window may be left behind.
    fn may_leave(&self) -> bool {
        self.open().retired.len() < MOST_SLOW
    }

    fn all(&self) -> Vec<Arc<Window>> {
        let open = self.open();
        open.current.iter().chain(&open.retired).cloned().collect()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn open_channel(session: &Session) -> lapin::Result<Channel> {
    let channel = session.connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// A publication in lapin's terms.
#[derive(Default)]
struct Job {
    exchange: ShortString,
    routing_key: ShortString,
    properties: BasicProperties,
    body: Bytes,
    mandatory: bool,
    lane: Option<u64>,
    /// Something to the same place was confirmed where it is sent.
    is_known: bool,
}

impl Job {
    fn new(publication: &Publication, frame_max: usize) -> Result<Self, PublishError> {
        let Publication { exchange, routing_key, message, mandatory, lane } = publication;
        wire::check_sizes(
            exchange.as_str(),
            routing_key,
            message,
            wire::header_limit(frame_max),
            // What others published has to go to a retry queue, however large it is.
            usize::MAX,
        )?;
        Ok(Self {
            exchange: convert::short("the name of the exchange", exchange.as_str())?,
            routing_key: convert::short("the routing key", routing_key)?,
            properties: convert::properties(message)?,
            body: message.body.clone(),
            mandatory: *mandatory,
            lane: *lane,
            is_known: false,
        })
    }
}
