//! One queue: what waits in it, in which order, and for how long.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    arguments::{OverflowMode, Settings},
    broker::{ConnectionId, ConsumerId},
    log::Log,
};
use crate::{
    message::{Message, Text},
    model::Queue,
    name::QueueName,
};

/// A message as it was routed; the queues that hold it share it.
#[derive(Debug)]
pub(super) struct Routed {
    pub(super) exchange: String,
    pub(super) routing_key: Text,
    /// Further keys, from `CC` and `BCC`.
    pub(super) more_keys: Vec<String>,
    pub(super) message: Message,
}

impl Routed {
    /// All keys that it is routed by.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.routing_key).chain(self.more_keys.iter().map(String::as_str))
    }
}

/// A message in a queue, or with one of its consumers.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its place in the queue, which it keeps when it comes back.
    pub(super) position: u64,
    pub(super) routed: Arc<Routed>,
    pub(super) expires_at: Option<Instant>,
    pub(super) redelivered: bool,
    /// How often it came back.
    pub(super) returns: u64,
}

impl Entry {
    fn size(&self) -> u64 {
        self.routed.message.body.len() as u64
    }
}

/// A dead letter that is kept until its targets have it (at-least-once).
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) routed: Arc<Routed>,
    pub(super) was_rejected: bool,
    /// The queues that have it already.
    pub(super) delivered: BTreeSet<QueueName>,
}

/// A queue.
#[derive(Debug)]
pub(super) struct QueueState {
    pub(super) declared: Queue,
    pub(super) settings: Settings,
    /// The connection that has it alone.
    pub(super) owner: Option<ConnectionId>,
    /// In turn: the first is the next to be served.
    pub(super) consumers: VecDeque<ConsumerId>,
    pub(super) has_exclusive_consumer: bool,
    /// How many messages are with consumers.
    pub(super) unsettled: usize,
    pub(super) letters: VecDeque<Letter>,
    /// What a stream keeps; nothing of it is ready, as each of its consumers reads on its own.
    pub(super) log: Log,
    /// Whether something changed that may let a letter through.
    pub(super) try_letters: bool,
    /// When it is deleted, unless it is used before.
    pub(super) unused_until: Option<Instant>,
    /// Whether it stands in the broker's list of queues to look at.
    pub(super) is_dirty: bool,
    /// What the broker's list of deadlines says about it.
    pub(super) listed_due: Option<Instant>,
    /// By priority, the highest first; those of one priority by their positions.
    ready: BTreeMap<Reverse<u8>, VecDeque<Entry>>,
    ready_count: usize,
    ready_bytes: u64,
    ready_with_expiry: usize,
    next_position: u64,
}

impl QueueState {
    pub(super) fn new(declared: Queue, settings: Settings, owner: Option<ConnectionId>) -> Self {
        Self {
            declared,
            settings,
            owner,
            consumers: VecDeque::new(),
            has_exclusive_consumer: false,
            unsettled: 0,
            letters: VecDeque::new(),
            log: Log::default(),
            try_letters: false,
            unused_until: None,
            is_dirty: false,
            listed_due: None,
            ready: BTreeMap::new(),
            ready_count: 0,
            ready_bytes: 0,
            ready_with_expiry: 0,
            next_position: 0,
        }
    }

    /// How many messages are ready.
    pub(super) fn len(&self) -> usize {
        self.ready_count
    }

    /// How many of the ready messages have an expiry.
    pub(super) fn with_expiry(&self) -> usize {
        self.ready_with_expiry
    }

    /// A new message for the end of the queue.
    pub(super) fn new_entry(&mut self, routed: Arc<Routed>, now: Instant) -> Entry {
        let position = self.next_position;
        self.next_position += 1;
        let own = routed
            .message
            .properties
            .expiration
            .as_deref()
            .and_then(|text| text.parse().ok())
            .map(Duration::from_millis);
        let ttl = match (own, self.settings.message_ttl) {
            (Some(own), Some(queue)) => Some(own.min(queue)),
            (own, queue) => own.or(queue),
        };
        let expires_at = ttl.and_then(|ttl| now.checked_add(ttl));
        Entry { position, routed, expires_at, redelivered: false, returns: 0 }
    }

    /// Puts a message where its position says.
    pub(super) fn put(&mut self, entry: Entry) {
        self.ready_count += 1;
        self.ready_bytes += entry.size();
        self.ready_with_expiry += usize::from(entry.expires_at.is_some());
        let rank = self.ready.entry(Reverse(self.priority(&entry))).or_default();
        // Most come last; one that came back has its place near the first.
        let place = match rank.back() {
            Some(last) if last.position > entry.position => {
                rank.partition_point(|there| there.position < entry.position)
            }
            _ => rank.len(),
        };
        rank.insert(place, entry);
    }

    /// Takes the first message.
    pub(super) fn take(&mut self) -> Option<Entry> {
        let rank = self.ready.values_mut().find(|rank| !rank.is_empty())?;
        let entry = rank.pop_front()?;
        if rank.is_empty() && rank.capacity() > ROOM {
            *rank = VecDeque::new();
        }
        self.ready_count -= 1;
        self.ready_bytes -= entry.size();
        self.ready_with_expiry -= usize::from(entry.expires_at.is_some());
        Some(entry)
    }

    /// Takes the first message when it has expired; those behind it wait for it.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<Entry> {
        let expires_at = self.head_expiry()?;
        if expires_at <= now { self.take() } else { None }
    }

    /// Takes the first message when there are more than the queue may hold.
    pub(super) fn take_overflow(&mut self) -> Option<Entry> {
        if self.is_beyond(self.ready_count as u64, self.ready_bytes) { self.take() } else { None }
    }

    /// Takes all that are ready.
    pub(super) fn purge(&mut self) -> u64 {
        let count = self.ready_count as u64;
        self.ready.clear();
        self.ready_count = 0;
        self.ready_bytes = 0;
        self.ready_with_expiry = 0;
        count
    }

    /// Whether a message of this size is refused.
    pub(super) fn refuses(&self, size: u64) -> bool {
        self.settings.overflow != OverflowMode::DropHead
            && self.is_beyond(self.ready_count as u64 + 1, self.ready_bytes + size)
    }

    /// Whether its consumers do not keep up with what comes.
    pub(super) fn is_behind(&self) -> bool {
        self.ready_count > CREDIT && !self.consumers.is_empty()
    }

    /// Whether room in it may let a dead letter of another queue through.
    pub(super) fn is_bounded(&self) -> bool {
        self.settings.max_length.is_some() || self.settings.max_length_bytes.is_some()
    }

    /// When the first message expires.
    pub(super) fn head_expiry(&self) -> Option<Instant> {
        self.ready.values().find_map(VecDeque::front).and_then(|entry| entry.expires_at)
    }

    /// When it has to be looked at again.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.head_expiry(), self.unused_until].into_iter().flatten().min()
    }

    /// Notes that it is used at this moment.
    pub(super) fn touch(&mut self, now: Instant) {
        self.unused_until = match self.settings.expires {
            Some(expires) if self.consumers.is_empty() => now.checked_add(expires),
            _ => None,
        };
    }

    /// A message without a priority has the lowest, one of a higher than there is the highest.
    fn priority(&self, entry: &Entry) -> u8 {
        match self.settings.max_priority {
            Some(most) => entry.routed.message.properties.priority.unwrap_or(0).min(most),
            None => 0,
        }
    }

    fn is_beyond(&self, length: u64, bytes: u64) -> bool {
        self.settings.max_length.is_some_and(|most| length > most)
            || self.settings.max_length_bytes.is_some_and(|most| bytes > most)
    }

    /// What is ready, in order, after a check that the counts kept beside it are right.
    #[cfg(test)]
    pub(super) fn ready(&self) -> impl Iterator<Item = &Entry> {
        let ready = || self.ready.values().flatten();
        assert_eq!(self.ready_count, ready().count());
        assert_eq!(self.ready_bytes, ready().map(Entry::size).sum::<u64>());
        assert_eq!(self.ready_with_expiry, ready().filter(|entry| entry.expires_at.is_some()).count());
        ready()
    }
}

/// How many messages an empty queue keeps room for, so that few at a time cost no allocations.
const ROOM: usize = 1024;

/// How many messages may wait for consumers before whoever publishes more lets others run first: as many as
/// RabbitMQ's credit flow has under way.
const CREDIT: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::QueueKind, name::QueueName};

    fn queue(max_priority: Option<u8>) -> QueueState {
        let mut declared = Queue::durable(QueueName::new("orders").unwrap(), QueueKind::Classic);
        declared.max_priority = max_priority;
        let settings = Settings::of(&declared).unwrap();
        QueueState::new(declared, settings, None)
    }

    fn put(queue: &mut QueueState, priority: u8) {
        let mut message = Message::default();
        message.properties.priority = Some(priority);
        let routed =
            Routed { exchange: String::new(), routing_key: "orders".into(), more_keys: Vec::new(), message };
        let entry = queue.new_entry(Arc::new(routed), Instant::now());
        queue.put(entry);
    }

    fn order(queue: &QueueState) -> Vec<u64> {
        queue.ready().map(|entry| entry.position).collect()
    }

    #[test]
    fn what_comes_back_in_any_order_takes_its_old_place() {
        let mut queue = queue(None);
        (0..6).for_each(|_| put(&mut queue, 0));
        let mut taken: Vec<Entry> = (0..4).map(|_| queue.take().unwrap()).collect();

        for place in [2, 0, 1] {
            queue.put(taken.remove(place));
        }

        assert_eq!(order(&queue), [0, 2, 3, 4, 5]);
        queue.put(taken.remove(0));
        assert_eq!(order(&queue), [0, 1, 2, 3, 4, 5]);
        assert_eq!(queue.purge(), 6);
        assert_eq!(order(&queue), [0; 0]);
    }

    #[test]
    fn a_place_is_one_among_those_of_the_same_priority() {
        let mut queue = queue(Some(5));
        [1, 9, 1, 5, 0].into_iter().for_each(|priority| put(&mut queue, priority));
        let first = queue.take().unwrap();
        assert_eq!((first.position, order(&queue)), (1, vec![3, 0, 2, 4]));

        queue.put(first);

        assert_eq!(order(&queue), [1, 3, 0, 2, 4]);
    }
}
