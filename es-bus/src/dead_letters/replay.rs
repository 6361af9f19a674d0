//! Back to the group that failed, or to everybody.

use std::{borrow::Cow, future::IntoFuture};

use serde::Serialize;

use super::{
    DeadLetter, DeadLetterError, DeadLetters, Filter,
    queue::{Desk, KnownGroup},
    scan::{Held, Scan},
};
use crate::{
    handler::BoxFuture,
    message::Received,
    model::{Binding, Exchange, ExchangeKind},
    name::{ExchangeName, QueueName},
    telemetry::Counters,
    transport::{DeclareError, PublishError},
    wire::{self, DeadLetterAuthor, Provenance},
};

/// How many failures a report describes.
const DESCRIBED: usize = 20;

/// A replay that is being put together; `.await` does it.
///
/// # Examples
///
/// ```no_run
/// # async fn f(handle: es_bus::Handle) -> es_bus::Result<()> {
/// use es_bus::dead_letters::Filter;
///
/// let dead = handle.dead_letters("projections")?;
/// let would = dead.replay(Filter::all()).limit(10).dry_run().await?;
/// println!("{} of {}", would.matched, would.left);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is replayed before it is awaited"]
#[derive(Debug)]
pub struct Replay<'a> {
    letters: &'a DeadLetters,
    filter: Filter,
    limit: u64,
    dry_run: bool,
    broadcast: bool,
}

/// What became of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReplayReport {
    /// How many dead letters were chosen.
    pub matched: u64,
    /// How many of them were published, confirmed, and taken out of the queue; none in a dry run.
    pub replayed: u64,
    /// How many of them could not be published. They are in the queue.
    pub failed: u64,
    /// How many of those that were there at the start are still there.
    pub left: u64,
    /// Why the first 20 failed.
    pub failures: Vec<NotReplayed>,
}

/// A dead letter that could not be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NotReplayed {
    /// Its [`DeadLetter::id`](super::DeadLetter::id).
    pub id: String,
    /// Why not.
    pub reason: String,
}

impl<'a> Replay<'a> {
    pub(super) fn new(letters: &'a DeadLetters, filter: Filter) -> Self {
        Self { letters, filter, limit: u64::MAX, dry_run: false, broadcast: false }
    }

    /// Replays no more than so many, from the head of the queue.
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    /// Only counts what would be replayed.
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Publishes to the exchange and with the routing key that the event first had, as eventsource-py
    /// does: *every* group that is bound gets it again, with all its handlers.
    ///
    /// eventsource-py does not write the exchange; it is then taken to be that of the group.
    pub fn broadcast(mut self) -> Self {
        self.broadcast = true;
        self
    }

    /// Killed anywhere: what was published and not acknowledged is in the queue as well, a duplicate.
    async fn run(self) -> Result<ReplayReport, DeadLetterError> {
        let mut scan = self.letters.scan().await?;
        let mut report = ReplayReport::default();
        while report.matched < self.limit {
            let next = scan.next().await.map_err(|error| error.after(report.replayed))?;
            let Some(held) = next else { break };
            let letter = DeadLetter::read(&held, self.letters.queue.as_str());
            if !self.filter.matches(&letter) {
                continue;
            }
            report.matched += 1;
            if self.dry_run {
                continue;
            }
            self.replay_one(&mut scan, held, &letter, &mut report).await?;
        }
        report.left = scan.total() - report.replayed;
        scan.leave().await.map_err(|error| error.after(report.replayed))?;
        Ok(report)
    }

    async fn replay_one(
        &self,
        scan: &mut Scan,
        held: Held,
        letter: &DeadLetter,
        report: &mut ReplayReport,
    ) -> Result<(), DeadLetterError> {
        let queue = &self.letters.queue;
        match self.letters.desk.send(queue, &held, self.broadcast).await {
            Ok(()) => {
                report.replayed += 1;
                Counters::add(&self.letters.desk.counters.replayed);
                tracing::info!(
                    id = letter.id,
                    event_id = letter.event_id,
                    event_type = letter.event_type,
                    queue = letter.queue,
                    broadcast = self.broadcast,
                    "replayed"
                );
                scan.acknowledge(held)
            }
            Err(Obstacle::Ours(reason)) => {
                Err(DeadLetterError::Interrupted { queue: queue.to_string(), done: report.replayed, reason })
            }
            Err(Obstacle::Its(reason)) => {
                tracing::warn!(id = letter.id, event_id = letter.event_id, reason, "not replayed; it stays");
                report.failed += 1;
                if report.failures.len() < DESCRIBED {
                    report.failures.push(NotReplayed { id: letter.id.clone(), reason });
                }
                Ok(())
            }
        }
    }
}

impl<'a> IntoFuture for Replay<'a> {
    type Output = Result<ReplayReport, DeadLetterError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// Why a message was not published.
enum Obstacle {
    /// Others may fare better.
    Its(String),
    /// None will.
    Ours(String),
}

impl From<PublishError> for Obstacle {
    fn from(error: PublishError) -> Self {
        let reason = error.to_string();
        match error {
            PublishError::Unroutable { .. }
            | PublishError::NoExchange { .. }
            | PublishError::Refused { .. }
            | PublishError::Rejected { .. }
            | PublishError::TooLarge { .. }
            | PublishError::Key { .. }
            | PublishError::Encode(_) => Self::Its(reason),
            PublishError::Interrupted { .. }
            | PublishError::TimedOut { .. }
            | PublishError::Unavailable { .. }
            | PublishError::Backlog { .. }
            | PublishError::Closed => Self::Ours(reason),
        }
    }
}

/// Where a replay goes.
struct Target {
    exchange: ExchangeName,
    /// The queue that the exchange leads to; none when it leads to many.
    queue: Option<QueueName>,
}

impl Desk {
    /// Publishes a copy of a dead letter, and returns when the broker has confirmed it.
    async fn send(&self, dlq: &QueueName, held: &Held, broadcast: bool) -> Result<(), Obstacle> {
        let received = &*self.adopted(held.received());
        let found = wire::provenance(received, dlq.as_str());
        let queue = self.failed_queue(dlq, &found);
        let target = if broadcast {
            Target { exchange: self.first_exchange(queue.as_ref(), held, &found)?, queue: None }
        } else {
            let queue = queue.clone().ok_or_else(|| {
                Obstacle::Its("nothing tells which queue it failed in; a broadcast needs none".to_owned())
            })?;
            Target { exchange: self.entry(&queue)?, queue: Some(queue) }
        };
        let handlers: Vec<&str> =
            if broadcast { Vec::new() } else { found.handlers.iter().map(String::as_str).collect() };
        // What was moved here by hand has no key of its own any more.
        let key = if found.author == DeadLetterAuthor::Unknown && found.origin.routing_key == dlq.as_str() {
            return Err(Obstacle::Its("nothing tells the routing key that it was published with".to_owned()));
        } else {
            found.origin.routing_key.clone()
        };
        let source = wire::Source {
            received,
            origin: &found.origin,
            queue: queue.as_ref().map_or("", QueueName::as_str),
            now: self.clock.now(),
        };
        let mut message = source.replay(&handlers, &uuid::Uuid::new_v4().to_string());
        let mut limit = self.header_limit;
        let (mut was_cut, mut was_declared) = (false, false);
        loop {
            // Headers that do not fit a frame would end the connection.
            if let Err(error) = wire::drop_foreign(&mut message, limit) {
                return Err(Obstacle::Its(error.to_string()));
            }
            let publish =
                self.publisher.publish_message(target.exchange.clone(), key.clone(), message.clone());
            match (publish.await, &target.queue) {
                (Ok(()), _) => return Ok(()),
                // The broker's frames are smaller than ours were meant to be.
                (Err(PublishError::TooLarge { limit: most, .. }), _) if !was_cut && most < limit => {
                    was_cut = true;
                    limit = most;
                }
                (Err(PublishError::NoExchange { .. }), Some(queue)) if !was_declared => {
                    was_declared = true;
                    self.declare_entry(&target.exchange, queue).await?;
                }
                (Err(error), _) => return Err(error.into()),
            }
        }
    }

    /// The queue that a message failed in: as it says itself, else that of the group whose dead-letter
    /// queue this is, else what the dead-letter queue is named after.
    fn failed_queue(&self, dlq: &QueueName, found: &Provenance) -> Option<QueueName> {
        let queue = self.named_queue(dlq, found)?;
        let heir = self.groups.values().find(|group| group.formerly.contains(&queue));
        Some(heir.map_or(queue, |group| group.queue.clone()))
    }

    /// The queue by the name that it had then.
    fn named_queue(&self, dlq: &QueueName, found: &Provenance) -> Option<QueueName> {
        if let Some(queue) = &found.queue {
            return QueueName::new(queue).ok();
        }
        let mut groups = self.groups.values().filter(|group| group.dlq == *dlq);
        match (groups.next(), groups.next()) {
            (Some(group), None) => Some(group.queue.clone()),
            (Some(_), Some(_)) => None,
            (None, _) => dlq.as_str().strip_suffix(".dlq").and_then(|queue| QueueName::new(queue).ok()),
        }
    }

    /// A message as if it had failed in the queue that its group has now.
    fn adopted<'a>(&self, received: &'a Received) -> Cow<'a, Received> {
        let mut received = Cow::Borrowed(received);
        for group in self.groups.values() {
            for old in &group.formerly {
                let headers = &mut received.to_mut().message.headers;
                wire::adopt(headers, old.as_str(), group.queue.as_str());
            }
        }
        received
    }

    fn group(&self, queue: &QueueName) -> Option<&KnownGroup> {
        self.groups.values().find(|group| group.queue == *queue)
    }

    fn entry(&self, queue: &QueueName) -> Result<ExchangeName, Obstacle> {
        match self.group(queue) {
            Some(group) => Ok(group.entry.clone()),
            None => {
                ExchangeName::new(format!("{queue}.in")).map_err(|error| Obstacle::Its(error.to_string()))
            }
        }
    }

    /// The exchange that an event was first published to.
    fn first_exchange(
        &self,
        queue: Option<&QueueName>,
        held: &Held,
        found: &Provenance,
    ) -> Result<ExchangeName, Obstacle> {
        let dead_letter_exchange = held.received().exchange.strip_suffix(self.dlx_suffix.as_str());
        let home = || queue.and_then(|queue| self.group(queue)).map(|group| group.home.as_str());
        let name = Some(found.origin.exchange.as_str())
            .filter(|name| !name.is_empty())
            .or_else(home)
            .or(dead_letter_exchange.filter(|name| !name.is_empty()))
            .ok_or_else(|| Obstacle::Its("nothing tells which exchange it was published to".to_owned()))?;
        ExchangeName::new(name).map_err(|error| Obstacle::Its(error.to_string()))
    }

    /// Declares the exchange that leads to one queue alone. The default exchange would too, but the
    /// routing key would be the name of the queue then, and eventsource-py publishes its retries by it.
    async fn declare_entry(&self, entry: &ExchangeName, queue: &QueueName) -> Result<(), Obstacle> {
        let transport = self.provision.transport();
        let obstacle = |error: DeclareError| match error {
            DeclareError::Interrupted { .. } | DeclareError::Down { .. } => Obstacle::Ours(error.to_string()),
            _ => Obstacle::Its(error.to_string()),
        };
        // Not for a queue that is not there: the exchange would stay behind.
        match transport.queue_status(queue).await.map_err(obstacle)? {
            Some(_) => {}
            None => {
                return Err(Obstacle::Its(format!("there is no queue {:?} to replay to", queue.as_str())));
            }
        }
        let exchange = Exchange::durable(entry.clone(), ExchangeKind::Fanout);
        transport.declare_exchange(&exchange).await.map_err(obstacle)?;
        let binding = Binding::by_key(entry.clone(), queue.clone(), "");
        transport.bind(&binding).await.map_err(obstacle)?;
        tracing::info!(exchange = %entry, queue = %queue, "declared, to replay to this queue alone");
        Ok(())
    }
}
