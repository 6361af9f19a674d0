//! What a group does at the moment: whether it consumes, and how much it has in hand.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::metrics::GroupMeters;
use crate::name::{GroupName, QueueName};

/// A group that is consumed here, as others see it.
#[derive(Debug)]
pub(crate) struct GroupWatch {
    /// Its name.
    pub(crate) name: GroupName,
    /// Its queue.
    pub(crate) queue: QueueName,
    /// Its dead-letter queue, where it has one.
    pub(crate) dlq: Option<QueueName>,
    /// Whether it is meant to consume nothing: it is paused, or has no handlers.
    idle: AtomicBool,
    /// Why its queue does not deliver as it should, where it was found not to.
    trouble: Mutex<Option<String>>,
    consumers: AtomicU64,
    in_flight: AtomicU64,
    /// Why events wait to be copied, by what their copies are.
    held: [Mutex<Held>; 2],
    meters: GroupMeters,
}

impl GroupWatch {
    /// A group that does not consume yet.
    pub(crate) fn new(name: GroupName, queue: QueueName, dlq: Option<QueueName>) -> Self {
        let meters = GroupMeters::new(name.as_str());
        Self {
            name,
            queue,
            dlq,
            idle: AtomicBool::default(),
            trouble: Mutex::default(),
            consumers: AtomicU64::default(),
            in_flight: AtomicU64::default(),
            held: Default::default(),
            meters,
        }
    }

    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.name == other.name && self.queue == other.queue
    }

    /// Says whether it is meant to consume nothing.
    pub(crate) fn set_idle(&self, is_idle: bool) {
        self.idle.store(is_idle, Ordering::Relaxed);
    }

    /// Whether it is meant to consume nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    /// Says why its queue does not deliver as it should, or that it does.
    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Says why its queue does not deliver, until what is given is dropped; then what was said before.
    pub(crate) fn troubled(&self, reason: String) -> impl Drop + '_ {
        let mut before = self.trouble();
        self.set_trouble(Some(reason));
        Until(move || self.set_trouble(before.take()))
    }

    /// Why its queue does not deliver as it should, where it was found not to.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it has a consumer on the broker.
    pub(crate) fn is_consuming(&self) -> bool {
        self.consumers.load(Ordering::Relaxed) > 0
    }

    /// How many deliveries are handled.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Says that an event waits, as the broker does not take its copy, until what is given is dropped.
    pub(crate) fn holding(&self, copies: Copies) -> Holding<'_> {
        self.held(copies).count += 1;
        self.meters.held(1.0);
        Holding { watch: self, copies }
    }

    /// How many events wait, as the broker does not take their copies, and what it said last.
    pub(crate) fn held_by(&self, copies: Copies) -> Option<(u64, String)> {
        let held = self.held(copies);
        (held.count > 0).then(|| (held.count, held.reason.clone()))
    }

    fn held(&self, copies: Copies) -> MutexGuard<'_, Held> {
        self.held[copies as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that it has a consumer, until what is given is dropped.
    pub(crate) fn consuming(&self) -> impl Drop + '_ {
        self.consumers.fetch_add(1, Ordering::Relaxed);
        self.meters.consumers(1.0);
        Until(|| {
            self.consumers.fetch_sub(1, Ordering::Relaxed);
            self.meters.consumers(-1.0);
        })
    }

    /// Says that a delivery is handled, until what is given is dropped.
    pub(crate) fn handling(&self) -> impl Drop + '_ {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.meters.in_flight(1.0);
        Until(|| {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            self.meters.in_flight(-1.0);
        })
    }
}

/// What a copy of an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copies {
    /// It comes back to the group.
    Retry,
    /// It is a dead letter.
    DeadLetter,
}

/// Events that wait to be copied.
#[derive(Debug, Default)]
struct Held {
    count: u64,
    reason: String,
}

/// An event waits to be copied.
pub(crate) struct Holding<'a> {
    watch: &'a GroupWatch,
    copies: Copies,
}

impl Holding<'_> {
    /// Says why it waits still.
    pub(crate) fn set_reason(&self, reason: &str) {
        reason.clone_into(&mut self.watch.held(self.copies).reason);
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.watch.held(self.copies).count -= 1;
        self.watch.meters.held(-1.0);
    }
}

/// Does something when it is dropped: also when a task is aborted, or panics.
struct Until<F: FnMut()>(F);

impl<F: FnMut()> Drop for Until<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
