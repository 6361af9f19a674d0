//! One channel with many messages in flight, each of which gets its own verdict.
//!
//! lapin hands a returned message to whichever confirm resolves next, so a confirm alone proves nothing. Two
//! things do. Returned messages wait in a line, and a confirm that resolves takes the first: one that gets
//! none shows that the line was empty, and its own message not returned, or in the hands of an earlier one.
//! And the broker returns a message before it confirms it: were the message of a resolved confirm still in
//! the line, then one of those that were taken out would belong to a confirm that has not resolved yet. So
//! once every confirm that has resolved was looked at, a message is stored if its confirm got none, or if
//! all who are known to be returned have resolved.
//!
//! What is in flight belongs to the window, and outlives a call that is dropped. A window has room for what
//! comes behind its oldest message, and not for so many in all: RabbitMQ stops reading the connection when a
//! channel is some 400 messages behind, as one is that has to do with a queue without a majority.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use lapin::{
    Channel, Confirmation, message::BasicReturnMessage, options::BasicPublishOptions, types::ShortString,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::{super::connect::Session, Job};
use crate::handler::BoxFuture;

/// So many bytes of body take as much room as a message without any.
const BYTES_PER_PLACE: usize = 16 * 1024;
/// How often those who wait for room look whether it will ever come.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What is in flight for longer is not waited for by those who can go elsewhere.
const SLOW: Duration = Duration::from_millis(200);

/// How many keys of an exchange are remembered.
const MOST_KEYS: usize = 1000;

/// What became of a message.
#[derive(Debug)]
pub(super) enum Verdict {
    /// A queue has it, or more than one.
    Stored,
    /// No queue takes it.
    Unroutable,
    /// A queue refused it.
    Refused,
    /// The channel is gone, or never took it.
    Failed(lapin::Error),
}

/// A channel in confirm mode, and what is in flight on it.
pub(super) struct Window {
    channel: Arc<Channel>,
    room: Arc<Semaphore>,
    size: usize,
    /// No more is published on it.
    is_retired: AtomicBool,
    /// Of whose future something is new.
    ready: Arc<Mutex<Vec<usize>>>,
    flights: Mutex<Flights>,
    /// How many are in flight that nobody waits for any more.
    left: AtomicUsize,
    runtime: Handle,
}

impl Window {
    /// A window with room for so many messages, on a channel in confirm mode.
    pub(super) fn new(channel: Channel, size: usize) -> Self {
        let room = Arc::new(Semaphore::new(size));
        Self {
            channel: Arc::new(channel),
            flights: Mutex::new(Flights::new(Arc::clone(&room))),
            room,
            size,
            is_retired: AtomicBool::new(false),
            ready: Arc::default(),
            left: AtomicUsize::new(0),
            runtime: Handle::current(),
        }
    }

    /// Whether it takes any more.
    pub(super) fn is_open(&self) -> bool {
        !self.is_retired() && self.is_connected()
    }

    /// Whether its channel is there.
    pub(super) fn is_connected(&self) -> bool {
        self.channel.status().connected()
    }

    fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    /// Takes nothing more; what is in flight is waited for.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    /// Whether something of a lane is in flight.
    pub(super) fn carries(&self, lane: u64) -> bool {
        self.drain().iter().any(|flight| flight.lane == Some(lane) && flight.confirm.is_some())
    }

    /// Whether nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.drain().iter().all(|flight| flight.confirm.is_none())
    }

    /// Closes the channel, with what is in flight.
    pub(super) fn close(&self) {
        self.retire();
        let channel = Arc::clone(&self.channel);
        // Not left to lapin's destructor: one that fails ends the connection.
        self.runtime.spawn(async move {
            let _ = channel.close(200, "OK".into()).await;
        });
    }

    /// Waits until nothing is in flight.
    pub(super) async fn flushed(&self) {
        let all = u32::try_from(self.size).unwrap_or(u32::MAX);
        drop(self.room.acquire_many(all).await);
    }

    /// Waits for room for a body of so many bytes; gives none where the window takes no more, or where room
    /// will not come soon and the message `may_leave`.
    pub(super) async fn room(
        &self,
        bytes: usize,
        session: &Session,
        may_leave: bool,
    ) -> Option<OwnedSemaphorePermit> {
        let places = u32::try_from((1 + bytes / BYTES_PER_PLACE).min(self.size)).unwrap_or(u32::MAX);
        if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(places) {
            return Some(room);
        }
        // One that takes no more is asked for what is behind another message of its lane.
        let was_retired = self.is_retired();
        let mut acquired = Box::pin(Arc::clone(&self.room).acquire_many_owned(places));
        loop {
            match timeout(LOOK_EVERY, &mut acquired).await {
                Ok(room) => return room.ok(),
                Err(_elapsed) if !self.is_connected() => return None,
                Err(_elapsed) if was_retired || session.is_blocked() => {}
                Err(_elapsed) if self.is_retired() => return None,
                Err(_elapsed) if may_leave && self.is_slow() => return None,
                Err(_elapsed) => {}
            }
        }
    }

    /// Whether something is in flight for so long.
    fn is_slow(&self) -> bool {
        self.drain().line.front().is_some_and(|sent| sent.since.elapsed() > SLOW)
    }

    /// Whether a message to where this one goes was confirmed.
    pub(super) fn has_confirmed(&self, job: &Job) -> bool {
        let flights = self.flights();
        flights
            .confirmed
            .get(job.exchange.as_str())
            .is_some_and(|keys| keys.contains(job.routing_key.as_str()))
    }

    /// The message in flight that is the same and that nobody waits for any more: it need not be sent again.
    pub(super) fn adopt(self: &Arc<Self>, job: &Job) -> Option<Flying> {
        if self.left.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut flights = self.drain();
        let (index, flight) = flights.find_mut(|flight| {
            flight.is_left
                && flight.message_id == *job.properties.message_id()
                && flight.exchange == job.exchange
                && flight.routing_key == job.routing_key
                && flight.body == job.body
        })?;
        flight.is_left = false;
        // Whoever looked at it until now ends.
        flight.bell.task.wake();
        let owner = flights.next_owner();
        flights.places[index].as_mut()?.owner = owner;
        self.left.fetch_sub(1, Ordering::Relaxed);
        Some(Flying { window: Arc::clone(self), index, owner, is_over: false })
    }

    /// Sends a message. Those who call it one after another send in that order.
    pub(super) fn send(self: &Arc<Self>, job: Job, room: OwnedSemaphorePermit) -> Flying {
        let Job { exchange, routing_key, properties, body, mandatory, lane, is_known } = job;
        let message_id = properties.message_id().clone();
        let channel = Arc::clone(&self.channel);
        let (names, content) = ((exchange.clone(), routing_key.clone()), body.clone());
        let confirm = Box::pin(async move {
            let options = BasicPublishOptions { mandatory, immediate: false };
            channel.basic_publish(exchange, routing_key, options, &body, properties).await?.await
        });
        let mut flights = self.flights();
        let index = flights.free_place();
        let number = flights.number_next(room);
        let owner = flights.next_owner();
        let bell = Arc::new(Bell { index, ready: Arc::clone(&self.ready), task: AtomicWaker::new() });
        flights.places[index] = Some(Flight {
            message_id,
            exchange: names.0,
            routing_key: names.1,
            body: content,
            lane,
            is_known,
            number,
            confirm: Some(confirm),
            answer: None,
            is_returned: false,
            verdict: None,
            owner,
            is_left: false,
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        });
        // lapin numbers the message and queues its frames when it is polled first: under the lock, so that
        // the numbers are in the order of the frames.
        flights.look_at(index);
        Flying { window: Arc::clone(self), index, owner, is_over: false }
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at all that is new, and tells whoever has a verdict by that.
    fn drain(&self) -> MutexGuard<'_, Flights> {
        let mut flights = self.flights();
        let mut woken = mem::take(&mut flights.woken);
        loop {
            mem::swap(&mut woken, &mut self.ready.lock().unwrap_or_else(PoisonError::into_inner));
            if woken.is_empty() {
                break;
            }
            for index in woken.drain(..) {
                flights.look_at(index);
            }
        }
        flights.woken = woken;
        flights.judge();
        flights
    }
}

/// A message in flight, for the call that waits for it.
pub(super) struct Flying {
    window: Arc<Window>,
    index: usize,
    /// Who waits for it. A place that is taken again has another owner, and so has a message that is adopted.
    owner: u64,
    is_over: bool,
}

impl Flying {
    /// Waits for what becomes of the message.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the message in flight.
    pub(super) async fn land(mut self) -> Verdict {
        let verdict = poll_fn(|cx| self.poll(cx)).await;
        if let Verdict::Refused | Verdict::Failed(_) = verdict {
            // To a channel that a queue refused a message on, it would stay full also when its limit is
            // lifted: the channel is told when there is room again, and a queue without a limit has
            // nothing to tell. A channel that meets a queue just when its leader has died goes on to ask
            // the dead node, and refuses everything until that is back (seen on RabbitMQ 3.10).
            self.window.retire();
        }
        verdict
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Verdict> {
        let mut flights = self.window.drain();
        let flight = flights.places[self.index].as_mut().filter(|flight| flight.owner == self.owner);
        let Some(flight) = flight else {
            // Somebody else has it now.
            self.is_over = true;
            return Poll::Ready(Verdict::Failed(lapin::ErrorKind::FutureCompleted.into()));
        };
        match flight.verdict.take() {
            Some(verdict) => {
                if flight.is_left {
                    self.window.left.fetch_sub(1, Ordering::Relaxed);
                }
                flights.leave(self.index);
                self.is_over = true;
                Poll::Ready(verdict)
            }
            None => {
                flight.bell.task.register(cx.waker());
                // What rang before there was somebody to hear it.
                if flights_are_ready(&self.window) {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}

fn flights_are_ready(window: &Window) -> bool {
    !window.ready.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
}

impl Drop for Flying {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        match &mut self.window.flights().places[self.index] {
            Some(flight) if flight.owner == self.owner && !flight.is_left => flight.is_left = true,
            // The runtime ends, and with it what looked at the confirm.
            _ => return,
        }
        self.window.left.fetch_add(1, Ordering::Relaxed);
        // Somebody has to look at its confirm, which may have taken the returned message of another.
        let (window, index, owner) = (Arc::clone(&self.window), self.index, self.owner);
        let left = Self { window, index, owner, is_over: false };
        self.window.runtime.spawn(async move {
            let mut left = left;
            poll_fn(|cx| left.poll(cx)).await
        });
    }
}

/// What is in flight.
struct Flights {
    room: Arc<Semaphore>,
    /// What was sent, from the oldest that is not confirmed on.
    line: VecDeque<Sent>,
    /// The number of the first in the line.
    first: u64,
    /// Exchanges, and the routing keys on them, to which something was confirmed.
    confirmed: HashMap<String, HashSet<String>>,
    places: Vec<Option<Flight>>,
    free: Vec<usize>,
    /// Whose confirm has resolved, and who has no verdict yet.
    resolved: Vec<usize>,
    /// How many are known to be returned whose confirm has not resolved.
    returned: usize,
    /// Kept for its memory.
    woken: Vec<usize>,
    owners: u64,
}

struct Sent {
    since: Instant,
    places: usize,
    has_resolved: bool,
}

struct Flight {
    message_id: Option<ShortString>,
    exchange: ShortString,
    routing_key: ShortString,
    body: Bytes,
    lane: Option<u64>,
    /// Where it goes is remembered already.
    is_known: bool,
    number: u64,
    /// None when it has resolved.
    confirm: Option<BoxFuture<'static, lapin::Result<Confirmation>>>,
    answer: Option<Answer>,
    is_returned: bool,
    verdict: Option<Verdict>,
    owner: u64,
    /// The call that waited for it was dropped.
    is_left: bool,
    waker: Waker,
    bell: Arc<Bell>,
}

/// What a confirm said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    is_ack: bool,
    /// It got no returned message.
    was_line_empty: bool,
}

impl Flights {
    fn new(room: Arc<Semaphore>) -> Self {
        Self {
            room,
            line: VecDeque::new(),
            first: 0,
            confirmed: HashMap::new(),
            places: Vec::new(),
            free: Vec::new(),
            resolved: Vec::new(),
            returned: 0,
            woken: Vec::new(),
            owners: 0,
        }
    }

    fn next_owner(&mut self) -> u64 {
        self.owners += 1;
        self.owners
    }

    /// Puts a message at the end of the line.
    fn number_next(&mut self, room: OwnedSemaphorePermit) -> u64 {
        let sent = Sent { since: Instant::now(), places: room.num_permits(), has_resolved: false };
        // Given back when it leaves the line.
        room.forget();
        self.line.push_back(sent);
        self.first + self.line.len() as u64 - 1
    }

    /// Makes room when the oldest have resolved.
    fn make_room(&mut self, number: u64) {
        let at = usize::try_from(number - self.first).unwrap_or(usize::MAX);
        if let Some(sent) = self.line.get_mut(at) {
            sent.has_resolved = true;
        }
        let mut room = 0;
        while let Some(sent) = self.line.front().filter(|sent| sent.has_resolved) {
            room += sent.places;
            self.line.pop_front();
            self.first += 1;
        }
        if room > 0 {
            self.room.add_permits(room);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Flight> {
        self.places.iter().flatten()
    }

    fn find_mut(&mut self, is_it: impl Fn(&Flight) -> bool) -> Option<(usize, &mut Flight)> {
        let flights = self.places.iter_mut().enumerate();
        flights.filter_map(|(index, place)| Some((index, place.as_mut()?))).find(|(_, flight)| is_it(flight))
    }

    fn free_place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        })
    }

    fn leave(&mut self, index: usize) {
        self.places[index] = None;
        self.free.push(index);
    }

    /// Sees whether a confirm has resolved.
    fn look_at(&mut self, index: usize) {
        let Some(flight) = &mut self.places[index] else { return };
        let Some(confirm) = &mut flight.confirm else { return };
        let Poll::Ready(confirmation) = Pin::new(confirm).poll(&mut Context::from_waker(&flight.waker))
        else {
            return;
        };
        flight.confirm = None;
        let number = flight.number;
        if flight.is_returned {
            self.returned -= 1;
        }
        let returned = match confirmation {
            Ok(Confirmation::Ack(returned)) => {
                flight.answer = Some(Answer { is_ack: true, was_line_empty: returned.is_none() });
                returned
            }
            Ok(Confirmation::Nack(returned)) => {
                flight.answer = Some(Answer { is_ack: false, was_line_empty: returned.is_none() });
                returned
            }
            // Does not happen: the channel was put into confirm mode.
            Ok(Confirmation::NotRequested) => {
                flight.verdict = Some(Verdict::Failed(lapin::ErrorKind::FutureCompleted.into()));
                None
            }
            Err(error) => {
                flight.verdict = Some(Verdict::Failed(error));
                None
            }
        };
        self.resolved.push(index);
        self.make_room(number);
        if let Some(returned) = returned {
            self.credit(&returned);
        }
    }

    /// Finds whose message was returned.
    fn credit(&mut self, message: &BasicReturnMessage) {
        let delivery = &message.delivery;
        let mine = self.find_mut(|flight| {
            !flight.is_returned
                && flight.message_id == *delivery.properties.message_id()
                && flight.exchange == delivery.exchange
                && flight.routing_key == delivery.routing_key
        });
        let Some((_, flight)) = mine else {
            tracing::warn!(
                exchange = delivery.exchange.as_str(),
                routing_key = delivery.routing_key.as_str(),
                "the broker returned a message that is not in flight"
            );
            return;
        };
        flight.is_returned = true;
        if flight.confirm.is_some() {
            self.returned += 1;
        }
    }

    /// Gives verdicts, once all that has resolved was looked at.
    fn judge(&mut self) {
        let Self { places, resolved, returned, confirmed, .. } = self;
        resolved.retain(|&index| {
            let Some(flight) = &mut places[index] else { return false };
            if flight.verdict.is_none() {
                let Some(Answer { is_ack, was_line_empty }) = flight.answer else { return false };
                flight.verdict = Some(match () {
                    () if flight.is_returned => Verdict::Unroutable,
                    () if !was_line_empty && *returned > 0 => return true,
                    () if is_ack => {
                        if !flight.is_known {
                            remember(confirmed, flight.exchange.as_str(), flight.routing_key.as_str());
                        }
                        Verdict::Stored
                    }
                    () => Verdict::Refused,
                });
            }
            flight.bell.task.wake();
            false
        });
    }
}

fn remember(confirmed: &mut HashMap<String, HashSet<String>>, exchange: &str, routing_key: &str) {
    match confirmed.get_mut(exchange) {
        Some(keys) if keys.contains(routing_key) => {}
        Some(keys) if keys.len() >= MOST_KEYS => {}
        Some(keys) => drop(keys.insert(routing_key.to_owned())),
        None => drop(confirmed.insert(exchange.to_owned(), HashSet::from([routing_key.to_owned()]))),
    }
}

/// Rings when there is something new of a flight.
struct Bell {
    index: usize,
    ready: Arc<Mutex<Vec<usize>>>,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(self.index);
        self.task.wake();
    }
}
