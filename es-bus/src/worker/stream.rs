//! Reads the stream of a group, and brings what is in it to the queue that the group consumes.
//!
//! One process of a group does it: the active consumer of `{queue}.position`. It keeps the message that says how far
//! the stream was read, unacknowledged, until a further one stands beside it. Events go on in their order, one copy
//! each, confirmed; from then on they are the queue's, and retried, dead-lettered and given back like any other's.
//!
//! Killed between a copy and the position behind it: those events are brought once more, a duplicate each. The
//! position never passes what is not confirmed, so none is left out.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesOrdered};
use time::OffsetDateTime;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Assignment, WorkerContext, lanes::lane_of_aggregate};
use crate::{
    handler::BoxFuture,
    message::Received,
    model::{StreamOffset, policy::Ordering},
    telemetry::GroupWatch,
    topology::{
        GroupSpec, ProvisionError, StreamNames,
        position::{At, Note},
    },
    transport::{
        ConsumeError, ConsumeRequest, Consumer, DeclareError, Delivery, Publication, PublishError, Settlement,
    },
    wire,
};

/// How many events of the stream are in hand at once, and how many of them on their way to the queue.
const PREFETCH: u16 = 400;
const IN_FLIGHT: usize = 128;
/// How many events may wait in the queue when more are brought, and how many are brought until it is looked at again.
const FULL: u64 = 2000;
const BETWEEN_LOOKS: u64 = 500;
/// How long to wait while the queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(100);
/// After how many events the position is written, and after how long at the latest.
const WRITE_AFTER_EVENTS: u64 = 1000;
const WRITE_AFTER: Duration = Duration::from_millis(300);
/// How long the message of the position stays unacknowledged, at most: the broker closes the channel of one that
/// stays for too long.
const RENEW_AFTER: Duration = Duration::from_secs(300);
/// How long nothing may come before what stands last in the stream is known.
const QUIET: Duration = Duration::from_millis(300);
/// And before the stream is taken for empty: the broker counts late.
const EMPTY: Duration = Duration::from_secs(2);
/// How long its end is looked for in a stream to which more comes all the time.
const GROWING: Duration = Duration::from_secs(1);
/// How often it is looked again whether a stream is the one that was read, while nothing comes.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How long the broker may take to hand out what it has.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long what is on its way may take when the program stops.
const LAST: Duration = Duration::from_secs(5);
/// The pauses after something went wrong.
const MIN_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// The header in which a delivery of a stream says where it stands.
const OFFSET: &str = "x-stream-offset";

/// The stream of a group.
pub(super) struct Stream {
    pub(super) names: StreamNames,
    pub(super) group: GroupSpec,
    pub(super) assignment: watch::Receiver<Assignment>,
    pub(super) context: Arc<WorkerContext>,
    pub(super) watch: Arc<GroupWatch>,
    /// Whether it has asked for its turn.
    pub(super) asked: watch::Sender<bool>,
    /// Cancelled when no more is to be read.
    pub(super) over: CancellationToken,
}

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the program stops, or the group is paused")]
    Over,
    #[error("another position was set, by an operator or because the stream is another one")]
    Moved,
    #[error("the connection was lost, or the turn went to another process")]
    Lost,
    #[error("the broker does not hand out what stands in {queue:?}")]
    Silent { queue: String },
    #[error("the event at offset {at} cannot be brought to the queue: {source}")]
    NotBrought { at: u64, source: PublishError },
    #[error("the position cannot be written: {0}")]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    #[error(transparent)]
    Declare(#[from] DeclareError),
    #[error(transparent)]
    Provision(#[from] ProvisionError),
}

/// The message that says how far the stream was read.
struct Held {
    note: Note,
    delivery: Delivery,
}

impl Stream {
    /// Reads until told to stop; what is on its way then is waited for, and the position written.
    pub(super) async fn run(self) {
        let mut pause = MIN_PAUSE;
        let mut is_careful = false;
        while !self.over.is_cancelled() {
            let mut assignment = self.assignment.clone();
            tokio::select! {
                () = self.over.cancelled() => break,
                active = assignment.wait_for(Assignment::is_active) => if active.is_err() { break },
            }
            let since = Instant::now();
            let ended = match self.read(is_careful).await {
                Ok(()) | Err(Ended::Over) => continue,
                Err(ended) => ended,
            };
            if since.elapsed() > MAX_PAUSE {
                pause = MIN_PAUSE;
            }
            is_careful = matches!(ended, Ended::NotBrought { .. });
            if matches!(ended, Ended::Provision(_)) {
                // The bus ends by its own.
                tracing::debug!(group = %self.group.name, %ended, "the stream is not read");
            } else {
                tracing::warn!(group = %self.group.name, stream = %self.names.stream, %ended, "reading the stream ended; it goes on from its position");
            }
            if matches!(
                ended,
                Ended::Consume(ConsumeError::NoQueue { .. } | ConsumeError::Cancelled { .. })
                    | Ended::Publish(PublishError::Unroutable { .. } | PublishError::NoExchange { .. })
                    | Ended::NotBrought {
                        source: PublishError::Unroutable { .. } | PublishError::NoExchange { .. },
                        ..
                    }
            ) {
                self.context.provision.invalidate();
            }
            let _trouble = self.watch.troubled(format!("its stream is not read: {ended}"));
            tokio::select! {
                () = self.over.cancelled() => {}
                () = sleep(pause) => pause = (pause * 2).min(MAX_PAUSE),
            }
        }
    }

    /// Waits for its turn, and reads for as long as that lasts. Carefully, after an event that could not be brought:
    /// those behind it wait until it is through, and are not brought again and again.
    async fn read(&self, is_careful: bool) -> Result<(), Ended> {
        tokio::select! {
            () = self.halted() => return Err(Ended::Over),
            ready = self.context.provision.ready() => drop(ready?),
        }
        let mut position = self.consume(&self.names.position, None).await?;
        self.asked.send_replace(true);
        let lost = Arc::clone(position.settler().lost());
        let result = tokio::select! {
            biased;
            () = lost.cancelled() => Err(Ended::Lost),
            result = self.read_as_one_of_many(&mut position, is_careful) => result,
        };
        // Without a cancel before: what stands in the queue goes back before the next reader gets its turn.
        position.hand_over().await;
        result
    }

    async fn read_as_one_of_many(&self, position: &mut Consumer, is_careful: bool) -> Result<(), Ended> {
        let held = tokio::select! {
            () = self.halted() => return Err(Ended::Over),
            held = self.turn(position) => held?,
        };
        let (begin, known) = tokio::select! {
            () = self.halted() => return Err(Ended::Over),
            begun = self.begin(&held.note) => begun?,
        };
        tracing::info!(group = %self.group.name, stream = %self.names.stream, from = %begin, "reading the stream");
        let stream = self.consume(&self.names.stream, Some(begin)).await?;
        let mut reading = Reading {
            stream: self,
            written: None,
            // The one before is asked for too: it tells the stream that was read from another one.
            brought: held.note.next().and_then(|next| next.checked_sub(1)),
            look_at: None,
            last: held.note.after.clone(),
            held,
            known,
            at_once: if is_careful { 1 } else { IN_FLIGHT },
            is_fixed: false,
            on_their_way: HashSet::new(),
            in_flight: FuturesOrdered::new(),
            done: known,
            unwritten: 0,
            write_at: None,
            renew_at: Instant::now() + self.renew_after(),
            writing: None,
            room: 0,
        };
        reading.written = reading.held.note.next();
        reading.is_fixed = reading.written.is_some();
        reading.look_at = reading.brought.map(|_| Instant::now() + EMPTY);
        if known.is_some() && known != reading.written {
            // Where it begins was found out just now, and holds from now on.
            reading.write_at = Some(Instant::now());
        }
        reading.until_the_end(position, stream).await
    }

    /// Waits until this process is the one that reads; gives how far the stream was read.
    async fn turn(&self, position: &mut Consumer) -> Result<Held, Ended> {
        self.publish(&Note::HERE, &new_id()).await?;
        let mut taken = vec![self.next_of(position).await?];
        // What stood in the queue before this is there before it.
        let last = new_id();
        self.publish(&Note::HERE, &last).await?;
        let is_last = |delivery: &Delivery| {
            delivery.received.message.properties.message_id.as_deref() == Some(last.as_str())
        };
        while !taken.iter().any(is_last) {
            match timeout(PATIENCE, self.next_of(position)).await {
                Ok(delivery) => taken.push(delivery?),
                Err(_elapsed) => return Err(Ended::Silent { queue: self.names.position.to_string() }),
            }
        }
        let mut notes: Vec<Held> = taken
            .into_iter()
            .map(|delivery| Held { note: Note::read(&delivery.received.message.body), delivery })
            .collect();
        // Of equal ones the last: it stays the longest.
        notes.sort_by_key(|held| held.note.rank());
        let held = notes.pop().expect("one was taken at least");
        for other in notes {
            other.delivery.settle(Settlement::Ack);
        }
        Ok(held)
    }

    async fn next_of(&self, position: &mut Consumer) -> Result<Delivery, Ended> {
        match position.next().await {
            Some(delivery) => Ok(delivery?),
            None => Err(Ended::Lost),
        }
    }

    /// Where to begin, and the offset of the next event where that is known before one came.
    async fn begin(&self, note: &Note) -> Result<(StreamOffset, Option<u64>), Ended> {
        let declared =
            self.group.settings.stream.as_ref().map_or(StreamOffset::First, |stream| stream.offset);
        let place = match note.at {
            At::Unknown => declared,
            At::Place(place) => place,
            At::Next(0) => return Ok((StreamOffset::First, Some(0))),
            At::Next(next) => return Ok((StreamOffset::Offset(next - 1), Some(next))),
        };
        Ok(match place {
            StreamOffset::Next => {
                // Found out once: at the next start it would be another one, and what came in between be left out.
                let next = self.end().await?;
                (StreamOffset::Offset(next), Some(next))
            }
            StreamOffset::Last if self.end().await? == 0 => (StreamOffset::First, Some(0)),
            StreamOffset::Offset(next) => (place, Some(next)),
            StreamOffset::First | StreamOffset::Last | StreamOffset::Timestamp(_) => (place, None),
        })
    }

    /// The offset that the next message of the stream will have.
    async fn end(&self) -> Result<u64, Ended> {
        let begin = Instant::now();
        loop {
            if let Some(end) = self.end_of_what_comes().await? {
                return Ok(end);
            }
            match self.context.provision.transport().queue_status(&self.names.stream).await? {
                Some(status) if status.messages > 0 && begin.elapsed() < PATIENCE => {}
                Some(status) if status.messages > 0 => {
                    return Err(Ended::Silent { queue: self.names.stream.to_string() });
                }
                _ => return Ok(0),
            }
        }
    }

    /// The same, of what the broker hands out; `None` when that is nothing. To a stream that grows all the time it is
    /// the end of a moment ago.
    async fn end_of_what_comes(&self) -> Result<Option<u64>, Ended> {
        let mut consumer = self.consume(&self.names.stream, Some(StreamOffset::Last)).await?;
        let begin = Instant::now();
        let mut first = None;
        let mut end = None;
        let found = loop {
            match timeout(QUIET, consumer.next()).await {
                Ok(Some(delivery)) => {
                    let delivery = delivery?;
                    end = offset(&delivery.received).map(|offset| offset + 1).max(end);
                    delivery.settle(Settlement::Ack);
                    if first.get_or_insert_with(Instant::now).elapsed() > GROWING {
                        break Ok(end);
                    }
                }
                Ok(None) => {
                    break Err(Ended::Consume(ConsumeError::Cancelled {
                        queue: self.names.stream.to_string(),
                    }));
                }
                Err(_elapsed) if end.is_none() && begin.elapsed() < EMPTY => {}
                Err(_elapsed) => break Ok(end),
            }
        };
        consumer.close().await;
        found
    }

    async fn consume(
        &self,
        queue: &crate::name::QueueName,
        offset: Option<StreamOffset>,
    ) -> Result<Consumer, Ended> {
        let request = ConsumeRequest {
            queue: queue.clone(),
            tag: format!("{queue}@{}.{}", self.context.consumer_name, &new_id()[..8]),
            prefetch: PREFETCH,
            exclusive: false,
            may_hold: 0,
            offset,
        };
        Ok(self.context.provision.transport().consume(request).await?)
    }

    async fn publish(&self, note: &Note, id: &str) -> Result<(), Ended> {
        let publication = note.publication(&self.group, id);
        Ok(self.context.provision.transport().publish(&publication).await?)
    }

    /// Until the program stops, or the group is paused.
    async fn halted(&self) {
        let mut assignment = self.assignment.clone();
        tokio::select! {
            () = self.over.cancelled() => {}
            _ = assignment.wait_for(|now| !now.is_active()) => {}
        }
    }

    /// What stays in order on the way to the queue: the events of an aggregate, or all of them.
    fn lane_of(&self, received: &Received) -> Option<u64> {
        match self.group.settings.ordering {
            Ordering::None => None,
            Ordering::Strict => Some(0),
            Ordering::Aggregate => lane_of_aggregate(received),
        }
    }

    fn renew_after(&self) -> Duration {
        RENEW_AFTER.min(self.group.settings.patience.limit() / 2)
    }

    /// The event on its way to the queue of the group: the same, and where it came from.
    fn copy(&self, received: &Received) -> Result<Publication, PublishError> {
        let queue = self.group.queue.as_str();
        let origin = wire::origin(received, queue);
        // Nothing on it tells the time.
        let source = wire::Source { received, origin: &origin, queue, now: OffsetDateTime::UNIX_EPOCH };
        let mut message = source.moved(&new_id());
        wire::drop_foreign(&mut message, self.context.header_limit)?;
        Ok(Publication {
            exchange: self.group.entry.clone(),
            routing_key: received.routing_key.clone().into(),
            message,
            mandatory: true,
            lane: Some(0),
        })
    }
}

/// An event that was brought to the queue, or was not.
type Brought = (Option<u64>, Result<(), PublishError>, Delivery);

/// What the first delivery is.
enum First {
    /// The one that was brought last.
    Brought,
    /// One that is to be brought.
    New,
    /// One of another stream.
    Another,
}

/// A stream while it is read.
struct Reading<'a> {
    stream: &'a Stream,
    held: Held,
    /// The offset to begin at, where it is known.
    known: Option<u64>,
    /// The offset of the event that was brought last, until something comes.
    brought: Option<u64>,
    /// When to look whether it is still in the stream.
    look_at: Option<Instant>,
    /// The message id of the event that was brought last.
    last: Option<String>,
    /// Whether where it began is written down, so that the next start begins no later.
    is_fixed: bool,
    /// How many events may be on their way at once.
    at_once: usize,
    /// The aggregates of those.
    on_their_way: HashSet<u64>,
    /// What the position says that was written last.
    written: Option<u64>,
    in_flight: FuturesOrdered<BoxFuture<'a, Brought>>,
    /// All before this offset is in the queue.
    done: Option<u64>,
    /// How many events were brought since the position was written.
    unwritten: u64,
    write_at: Option<Instant>,
    renew_at: Instant,
    writing: Option<BoxFuture<'a, Result<(), Ended>>>,
    /// How many events may be brought until the queue is looked at.
    room: u64,
}

impl<'a> Reading<'a> {
    async fn until_the_end(mut self, position: &mut Consumer, mut stream: Consumer) -> Result<(), Ended> {
        let result = self.go_on(position, &mut stream).await;
        match &result {
            Err(Ended::Over) => self.finish().await,
            // So that what was brought before it is not brought again.
            Err(Ended::NotBrought { .. }) => {
                self.in_flight = FuturesOrdered::new();
                self.finish().await;
            }
            _ => {}
        }
        stream.close().await;
        result
    }

    async fn go_on(&mut self, position: &mut Consumer, stream: &mut Consumer) -> Result<(), Ended> {
        let mut link = self.stream.context.provision.transport().link();
        let mut halted = Box::pin(self.stream.halted());
        let mut look_at: Option<Instant> = None;
        let mut waiting: VecDeque<Delivery> = VecDeque::new();
        loop {
            if self.room == 0 && look_at.is_none() && !waiting.is_empty() {
                let status =
                    self.stream.context.provision.transport().queue_status(&self.stream.group.queue).await?;
                if status.is_some_and(|status| status.messages >= FULL) {
                    look_at = Some(Instant::now() + FULL_PAUSE);
                } else {
                    self.room = BETWEEN_LOOKS;
                }
            }
            // Behind a broker that takes nothing, events wait where they are.
            let is_open = link.borrow_and_update().blocked.is_none();
            while is_open && self.is_fixed && self.room > 0 && self.in_flight.len() < self.at_once {
                // One of an aggregate at a time: a transport may send two by different ways.
                let Some(next) = waiting.front() else { break };
                let aggregate = self.stream.lane_of(&next.received);
                if aggregate.as_ref().is_some_and(|it| self.on_their_way.contains(it)) {
                    break;
                }
                self.on_their_way.extend(aggregate);
                let Some(delivery) = waiting.pop_front() else { break };
                self.room -= 1;
                self.bring(delivery);
            }
            if self.writing.is_none() && (is_due(self.write_at) || self.unwritten >= WRITE_AFTER_EVENTS) {
                self.write();
            }
            tokio::select! {
                biased;
                () = &mut halted => return Err(Ended::Over),
                note = position.next() => self.take_note(note.ok_or(Ended::Lost)??)?,
                written = of(&mut self.writing) => {
                    self.writing = None;
                    written?;
                    self.is_fixed |= self.written.is_some();
                }
                Some(brought) = self.in_flight.next(), if !self.in_flight.is_empty() => self.count(brought)?,
                _ = link.changed(), if !is_open => {}
                () = until(look_at) => look_at = None,
                () = until(self.write_at), if self.writing.is_none() => {}
                () = sleep_until(self.renew_at), if self.writing.is_none() => self.write(),
                () = until(self.look_at) => tokio::select! {
                    () = &mut halted => return Err(Ended::Over),
                    looked = self.look_at_the_end() => looked?,
                },
                delivery = stream.next(), if waiting.len() < usize::from(PREFETCH) => {
                    let ended = || ConsumeError::Cancelled { queue: self.stream.names.stream.to_string() };
                    let delivery = delivery.ok_or_else(ended)??;
                    match self.first(&delivery.received) {
                        First::New => waiting.push_back(delivery),
                        First::Brought => {
                            delivery.settle(Settlement::Ack);
                        }
                        First::Another => return Err(self.begin_anew().await),
                    }
                }
            }
        }
    }

    /// What a delivery is, which may be the first one.
    fn first(&mut self, received: &Received) -> First {
        self.look_at = None;
        let at = offset(received);
        if !self.is_fixed && self.done.is_none() && at.is_some() {
            // Where it begins holds from now on, and is written before anything is brought.
            self.done = at;
            self.write();
        }
        match self.brought.take() {
            Some(brought) if at == Some(brought) => {
                let id = received.message.properties.message_id.as_deref();
                // An operator names an offset alone.
                let is_known = self.last.is_some();
                if is_known && self.last.as_deref() != id { First::Another } else { First::Brought }
            }
            // Retention took it, or this is not the first one.
            _ => First::New,
        }
    }

    /// Nothing comes, not even what was brought last: the stream may have been deleted and declared anew, and would be
    /// waited at for long.
    async fn look_at_the_end(&mut self) -> Result<(), Ended> {
        self.look_at = Some(Instant::now() + LOOK_AGAIN);
        let end = self.stream.end_of_what_comes().await?;
        if self.brought.is_some_and(|brought| end.is_some_and(|end| end <= brought)) {
            return Err(self.begin_anew().await);
        }
        Ok(())
    }

    /// Writes down that the stream is another one of the same name, of which nothing was read.
    async fn begin_anew(&mut self) -> Ended {
        tracing::warn!(
            group = %self.stream.group.name,
            stream = %self.stream.names.stream,
            position = self.held.note.next(),
            "the stream is another one of the same name than the one that was read, and is read from its beginning"
        );
        match self.stream.publish(&self.held.note.of_another(), &new_id()).await {
            Ok(()) => Ended::Moved,
            Err(ended) => ended,
        }
    }

    /// Sends an event on to the queue.
    fn bring(&mut self, delivery: Delivery) {
        let at = offset(&delivery.received);
        if let (Some(known), Some(at)) = (self.known.take(), at)
            && at > known
        {
            tracing::warn!(
                group = %self.stream.group.name,
                stream = %self.stream.names.stream,
                from = known,
                to = at - 1,
                "these offsets are no longer in the stream: its retention took them before they were read"
            );
        }
        let stream = self.stream;
        let sent = async move {
            let sent = match stream.copy(&delivery.received) {
                Ok(publication) => stream.context.provision.transport().publish(&publication).await,
                Err(error) => Err(error),
            };
            (at, sent, delivery)
        };
        self.in_flight.push_back(sent.boxed());
    }

    /// An event is in the queue, and all before it.
    fn count(&mut self, (at, sent, delivery): Brought) -> Result<(), Ended> {
        if let Err(source) = sent {
            return Err(match at {
                Some(at) => Ended::NotBrought { at, source },
                None => Ended::Publish(source),
            });
        }
        self.at_once = IN_FLIGHT;
        if let Some(aggregate) = self.stream.lane_of(&delivery.received) {
            self.on_their_way.remove(&aggregate);
        }
        if let Some(at) = at {
            self.done = Some(at + 1);
            self.last = delivery.received.message.properties.message_id.as_deref().map(str::to_owned);
        }
        self.unwritten += 1;
        let _ = self.write_at.get_or_insert_with(|| Instant::now() + WRITE_AFTER);
        delivery.settle(Settlement::Ack);
        Ok(())
    }

    /// Writes how far it was read. What stood there before is acknowledged when this comes by.
    fn write(&mut self) {
        let note = match self.done {
            Some(next) => Note { set: self.held.note.set, at: At::Next(next), after: self.last.clone() },
            None => self.held.note.clone(),
        };
        self.written = note.next();
        self.unwritten = 0;
        self.write_at = None;
        self.renew_at = Instant::now() + self.stream.renew_after();
        let stream = self.stream;
        self.writing = Some(async move { stream.publish(&note, &new_id()).await }.boxed());
    }

    /// Keeps the furthest position, and no other.
    fn take_note(&mut self, delivery: Delivery) -> Result<(), Ended> {
        let note = Note::read(&delivery.received.message.body);
        if note.set > self.held.note.set {
            // It goes back, and is what the next one begins with.
            return Err(Ended::Moved);
        }
        if note.rank() >= self.held.note.rank() {
            let before = std::mem::replace(&mut self.held, Held { note, delivery });
            before.delivery.settle(Settlement::Ack);
        } else {
            delivery.settle(Settlement::Ack);
        }
        Ok(())
    }

    /// Waits for what is on its way, and writes the last position.
    async fn finish(&mut self) {
        let last = async {
            while let Some(brought) = self.in_flight.next().await {
                self.count(brought)?;
            }
            if let Some(writing) = self.writing.take() {
                writing.await?;
            }
            if self.done != self.written {
                self.write();
                of(&mut self.writing).await?;
            }
            Ok::<_, Ended>(())
        };
        match timeout(LAST, last).await {
            Ok(Ok(())) => {}
            Ok(Err(ended)) => {
                tracing::warn!(group = %self.stream.group.name, %ended, "the last position was not written")
            }
            Err(_elapsed) => {
                tracing::warn!(group = %self.stream.group.name, "the broker did not take the last position in time");
            }
        }
    }
}

impl Note {
    fn next(&self) -> Option<u64> {
        match self.at {
            At::Next(next) => Some(next),
            At::Unknown | At::Place(_) => None,
        }
    }
}

/// Where a delivery of a stream stands in it.
fn offset(received: &Received) -> Option<u64> {
    received.message.headers.get_int(OFFSET).and_then(|offset| u64::try_from(offset).ok())
}

fn is_due(at: Option<Instant>) -> bool {
    at.is_some_and(|at| at <= Instant::now())
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn of<T>(doing: &mut Option<BoxFuture<'_, T>>) -> T {
    match doing {
        Some(doing) => doing.await,
        None => std::future::pending().await,
    }
}

fn new_id() -> String {
    Uuid::new_v4().to_string()
}
