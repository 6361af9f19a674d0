//! Whose turn it is in each lane: a publish that is sent again is not overtaken meanwhile.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::{BuildHasherDefault, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The lanes in which something is on its way, and who waits there.
///
/// Nothing is kept of a lane in which nothing is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    lanes: Mutex<Waiting>,
}

type Waiting = HashMap<u64, VecDeque<oneshot::Sender<()>>, BuildHasherDefault<Lane>>;

impl Turns {
    /// Waits until nothing else of the lane is on its way; who comes first goes first.
    ///
    /// # Cancel safety
    ///
    /// A dropped call leaves the line.
    pub(super) async fn take(&self, lane: u64) -> Turn<'_> {
        let next = match self.lanes().entry(lane) {
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                None
            }
            Entry::Occupied(mut taken) => {
                let (call, called) = oneshot::channel();
                taken.get_mut().push_back(call);
                Some(called)
            }
        };
        if let Some(called) = next {
            // Dropped between the call and the answer, it passes the turn on.
            let mut waiting = Called { turns: self, lane, called: Some(called) };
            if let Some(called) = &mut waiting.called {
                // The call cannot be dropped without being made: a turn that ends calls the next.
                let _ = called.await;
            }
            waiting.called = None;
        }
        Turn { turns: self, lane }
    }

    fn end(&self, lane: u64) {
        let mut lanes = self.lanes();
        let Entry::Occupied(mut taken) = lanes.entry(lane) else { return };
        while let Some(next) = taken.get_mut().pop_front() {
            if next.send(()).is_ok() {
                return;
            }
            // That one left the line.
        }
        taken.remove();
    }

    fn lanes(&self) -> MutexGuard<'_, Waiting> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lane is one's own until this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    lane: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.end(self.lane);
    }
}

/// Somebody in the line, who may leave it just when it is called.
struct Called<'a> {
    turns: &'a Turns,
    lane: u64,
    called: Option<oneshot::Receiver<()>>,
}

impl Drop for Called<'_> {
    fn drop(&mut self) {
        let Some(called) = &mut self.called else { return };
        called.close();
        if called.try_recv().is_ok() {
            self.turns.end(self.lane);
        }
    }
}

/// A lane is a hash already.
#[derive(Debug, Default)]
struct Lane(u64);

impl Hasher for Lane {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a lane is a u64")
    }

    fn write_u64(&mut self, lane: u64) {
        self.0 = lane;
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn goes_in_the_order_of_the_calls_lane_by_lane() {
        let turns = Turns::default();
        let first = turns.take(1).await;
        let mut second = pin!(turns.take(1));
        let mut third = pin!(turns.take(1));

        assert!(poll!(&mut second).is_pending());
        assert!(poll!(&mut third).is_pending());
        drop(turns.take(2).await);
        drop(first);

        assert!(poll!(&mut third).is_pending(), "the second is first");
        let Poll::Ready(turn) = poll!(&mut second) else { panic!("it is its turn") };
        assert!(poll!(&mut third).is_pending());
        drop(turn);
        assert!(poll!(&mut third).is_ready());
    }

    #[tokio::test]
    async fn who_leaves_the_line_holds_nobody_up() {
        let turns = Turns::default();
        let first = turns.take(1).await;
        let mut second = Box::pin(turns.take(1));
        let mut third = Box::pin(turns.take(1));
        let mut fourth = pin!(turns.take(1));
        for waiting in [second.as_mut(), third.as_mut()] {
            assert!(poll!(waiting).is_pending());
        }
        assert!(poll!(&mut fourth).is_pending());

        drop(second);
        drop(first);
        // Called, and gone before it could answer.
        drop(third);

        assert!(poll!(&mut fourth).is_ready());
    }

    #[tokio::test]
    async fn keeps_nothing_of_lanes_that_are_free() {
        let turns = Turns::default();
        for lane in 0..100 {
            drop(turns.take(lane).await);
        }
        let held = turns.take(1).await;
        {
            let mut left = Box::pin(turns.take(1));
            assert!(poll!(&mut left).is_pending());
        }
        drop(held);

        assert!(turns.lanes().is_empty());
    }
}
