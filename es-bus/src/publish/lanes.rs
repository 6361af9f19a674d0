//! Prepared events on their way: one at a time per lane, in order, several lanes at once.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use futures_util::{StreamExt, stream::FuturesUnordered};

use super::{Prepared, PublishError, Publisher, publisher::Patience};
use crate::handler::BoxFuture;

/// The aggregate that an event belongs to; events that name none share a lane.
pub(super) type Lane = Option<u64>;

/// Events on their way, each with what its owner knows it by.
pub(super) struct Lanes<T> {
    publisher: Publisher,
    patience: Patience,
    running: FuturesUnordered<BoxFuture<'static, Done<T>>>,
    /// What waits in each lane in which an event is on its way.
    waiting: HashMap<Lane, VecDeque<(T, Prepared)>>,
}

/// What became of an event. Its lane stands still until it is told how to go on.
pub(super) struct Done<T> {
    pub(super) lane: Lane,
    pub(super) tag: T,
    pub(super) event_id: String,
    pub(super) result: Result<(), PublishError>,
}

impl<T: Send + 'static> Lanes<T> {
    pub(super) fn new(publisher: Publisher, patience: Patience) -> Self {
        Self { publisher, patience, running: FuturesUnordered::new(), waiting: HashMap::new() }
    }

    /// Sends an event behind those of its lane.
    pub(super) fn push(&mut self, lane: Lane, tag: T, prepared: Prepared) {
        match self.waiting.entry(lane) {
            Entry::Occupied(mut waiting) => waiting.get_mut().push_back((tag, prepared)),
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                self.start(lane, tag, prepared);
            }
        }
    }

    /// Waits for the next event to be through; `None` when none is on its way.
    ///
    /// # Cancel safety
    ///
    /// Dropping the call changes nothing.
    pub(super) async fn next(&mut self) -> Option<Done<T>> {
        self.running.next().await
    }

    /// Sends the next event of a lane.
    pub(super) fn go_on(&mut self, lane: Lane) {
        let next = self.waiting.get_mut(&lane).and_then(VecDeque::pop_front);
        match next {
            Some((tag, prepared)) => self.start(lane, tag, prepared),
            None => {
                self.waiting.remove(&lane);
            }
        }
    }

    /// Gives back what waits in a lane.
    pub(super) fn give_back(&mut self, lane: Lane) -> impl Iterator<Item = (T, Prepared)> + use<T> {
        self.waiting.remove(&lane).unwrap_or_default().into_iter()
    }

    fn start(&self, lane: Lane, tag: T, mut prepared: Prepared) {
        let (publisher, patience) = (self.publisher.clone(), self.patience);
        self.running.push(Box::pin(async move {
            let result = publisher.send(&mut prepared, patience).await;
            Done { lane, tag, event_id: prepared.event_id, result }
        }));
    }
}
