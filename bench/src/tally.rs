//! Counts what is taken, and marks the first and the last event that counts.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use std::time::Instant;

use tokio::sync::Notify;

use crate::{
    Result,
    meter::Mark,
    task::{Measured, Task},
};

/// Shared by whoever takes events in a process.
#[derive(Clone, Debug)]
pub(crate) struct Tally(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    warm_up: u64,
    events: u64,
    broker: Option<u32>,
    /// What due times count from.
    epoch: Instant,
    taken: AtomicU64,
    kept: Mutex<Kept>,
    done: Notify,
    over: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    begin: Option<Result<Mark, String>>,
    end: Option<Result<Mark, String>>,
    latencies: Vec<u32>,
}

impl Tally {
    pub(crate) fn of(task: &Task) -> Self {
        Self(Arc::new(Inner {
            warm_up: task.warm_up(),
            events: task.events,
            broker: task.broker,
            epoch: Instant::now(),
            taken: AtomicU64::new(0),
            kept: Mutex::default(),
            done: Notify::new(),
            over: Notify::new(),
        }))
    }

    /// Waits for the end of the run.
    pub(crate) async fn until_released(&self) {
        self.0.over.notified().await;
    }

    /// Lets the slow event go, where one waits or will.
    pub(crate) fn release(&self) {
        self.0.over.notify_one();
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.warm_up + self.0.events
    }

    /// Microseconds of the run.
    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.0.epoch.elapsed().as_micros()).expect("a run takes no thousand years")
    }

    /// One event was taken; those that have no due time have no latency.
    pub(crate) fn one(&self, due_us: u64) {
        let taken = self.0.taken.fetch_add(1, Ordering::Relaxed) + 1;
        let is_counted = taken > self.0.warm_up;
        if due_us > 0 && is_counted {
            let latency = u32::try_from(self.now_us().saturating_sub(due_us)).unwrap_or(u32::MAX);
            self.kept(|kept| kept.latencies.push(latency));
        }
        if taken == self.0.warm_up {
            self.begin();
        }
        if taken == self.total() {
            let mark = self.mark();
            self.kept(|kept| kept.end = Some(mark));
            self.0.done.notify_one();
        }
    }

    /// The span begins; [`one`](Self::one) sees to it where something warms up.
    pub(crate) fn begin(&self) {
        let mark = self.mark();
        self.kept(|kept| kept.begin = Some(mark));
    }

    /// Waits until all are taken, and says what they cost.
    ///
    /// More than that are an error: somebody else's events, or the same one twice.
    pub(crate) async fn finish(&self) -> Result<Measured> {
        self.0.done.notified().await;
        let (begin, end, mut latencies) =
            self.kept(|kept| (kept.begin.take(), kept.end.take(), std::mem::take(&mut kept.latencies)));
        let begin = begin.ok_or("nobody began")??;
        let end = end.expect("marked before it is told")?;
        begin.until(end, self.0.events, &mut latencies)
    }

    /// How many were taken.
    pub(crate) fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::Relaxed)
    }

    fn mark(&self) -> Result<Mark, String> {
        Mark::now(self.0.broker).map_err(|error| error.to_string())
    }

    fn kept<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.0.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
