//! Lanes: which of the deliveries in hand may be handled now.
//!
//! Deliveries of one lane are handled one after another, in the order in which they came; lanes do
//! not wait for each other. A delivery without a lane never waits. Memory is bounded by what is in
//! hand: a lane is forgotten when its last delivery is done.

use std::collections::{HashMap, VecDeque};

use crate::{message::Received, publish::lane, wire};

/// The lane of what belongs to an aggregate.
pub(super) fn lane_of_aggregate(received: &Received) -> Option<u64> {
    let kind = received.message.headers.get_str(wire::names::AGGREGATE_TYPE);
    wire::lane(received).map(|id| lane(kind.unwrap_or_default(), &id))
}

/// The deliveries that wait, by lane.
pub(super) struct Lanes<T> {
    /// Deliveries that may start, in the order in which they came free.
    ready: VecDeque<(Option<u64>, T)>,
    /// Deliveries behind one that runs or is ready; the key is there while its lane is taken.
    waiting: HashMap<u64, VecDeque<T>>,
}

impl<T> Lanes<T> {
    pub(super) fn new() -> Self {
        Self { ready: VecDeque::new(), waiting: HashMap::new() }
    }

    /// Takes a delivery in.
    pub(super) fn push(&mut self, lane: Option<u64>, delivery: T) {
        match lane.and_then(|lane| self.waiting.get_mut(&lane)) {
            Some(behind) => behind.push_back(delivery),
            None => {
                if let Some(lane) = lane {
                    self.waiting.insert(lane, VecDeque::new());
                }
                self.ready.push_back((lane, delivery));
            }
        }
    }

    /// The next delivery that may start; its lane is taken until [`Self::done`].
    pub(super) fn next(&mut self) -> Option<(Option<u64>, T)> {
        self.ready.pop_front()
    }

    /// Whether nothing may start.
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    /// Everything that has not started, in no order.
    pub(super) fn unstarted(&self) -> impl Iterator<Item = &T> {
        let ready = self.ready.iter().map(|(_, delivery)| delivery);
        ready.chain(self.waiting.values().flatten())
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.unstarted().next().is_none()
    }

    /// Frees a lane for the delivery behind.
    pub(super) fn done(&mut self, lane: Option<u64>) {
        let Some(lane) = lane else { return };
        match self.waiting.get_mut(&lane).and_then(VecDeque::pop_front) {
            Some(next) => self.ready.push_back((Some(lane), next)),
            None => {
                self.waiting.remove(&lane);
            }
        }
    }

    /// Takes out what waits behind the delivery that has the lane.
    pub(super) fn drain_lane(&mut self, lane: Option<u64>) -> Vec<T> {
        let behind = lane.and_then(|lane| self.waiting.get_mut(&lane));
        behind.map_or_else(Vec::new, |behind| behind.drain(..).collect())
    }

    /// Takes out everything that has not started; the lanes of what has stay taken.
    pub(super) fn drain(&mut self) -> Vec<T> {
        let mut drained = Vec::new();
        for (lane, delivery) in self.ready.drain(..) {
            drained.push(delivery);
            // Nothing of this lane runs.
            drained.extend(lane.and_then(|lane| self.waiting.remove(&lane)).into_iter().flatten());
        }
        drained.extend(self.waiting.values_mut().flat_map(|behind| behind.drain(..)));
        drained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lane_goes_one_by_one_and_others_pass() {
        let mut lanes = Lanes::new();
        lanes.push(Some(1), "a1");
        lanes.push(Some(1), "a2");
        lanes.push(Some(2), "b1");
        lanes.push(None, "free");

        assert_eq!(lanes.next(), Some((Some(1), "a1")));
        assert_eq!(lanes.next(), Some((Some(2), "b1")));
        assert_eq!(lanes.next(), Some((None, "free")));
        assert_eq!(lanes.next(), None, "a2 waits for a1");

        lanes.done(Some(2));
        assert_eq!(lanes.next(), None);
        lanes.done(Some(1));
        assert_eq!(lanes.next(), Some((Some(1), "a2")));
    }

    #[test]
    fn a_lane_is_forgotten_when_it_is_empty() {
        let mut lanes = Lanes::new();
        for n in 0..1000_u64 {
            lanes.push(Some(n), n);
            let (lane, _) = lanes.next().expect("it may start");
            lanes.done(lane);
        }

        assert!(lanes.waiting.is_empty());
    }

    #[test]
    fn a_lane_that_has_much_to_do_takes_turns_with_the_others() {
        let mut lanes = Lanes::new();
        for number in 0..100 {
            lanes.push(Some(0), (0, number));
        }
        for lane in 1..=10 {
            lanes.push(Some(lane), (lane, 0));
            lanes.push(Some(lane), (lane, 1));
        }

        // One at a time.
        let mut started = Vec::new();
        while let Some((lane, it)) = lanes.next() {
            started.push(it);
            lanes.done(lane);
        }

        let turns: Vec<u64> = started.iter().map(|(lane, _)| *lane).collect();
        assert_eq!(turns[..11], turns[11..22], "each lane once, then each once more");
        assert_eq!(turns[22..], [0; 98]);
        let of_busy = started.iter().filter(|(lane, _)| *lane == 0).map(|(_, number)| *number);
        assert!(of_busy.eq(0..100), "in their order");
    }

    #[test]
    fn takes_as_much_room_as_was_ever_in_hand_at_once() {
        const IN_HAND: u64 = 100;
        let mut lanes = Lanes::new();
        for lane in 0..100_000_u64 {
            // A few share a lane.
            lanes.push(Some(lane / 4), lane);
            if lane >= IN_HAND {
                let (lane, _) = lanes.next().expect("one may start");
                lanes.done(lane);
            }
        }

        assert_eq!(lanes.unstarted().count(), usize::try_from(IN_HAND).unwrap());
        assert!(lanes.ready.capacity() <= 256, "{}", lanes.ready.capacity());
        assert!(lanes.waiting.capacity() <= 256, "{}", lanes.waiting.capacity());
    }

    #[test]
    fn gives_back_everything_that_has_not_started() {
        let mut lanes = Lanes::new();
        lanes.push(Some(1), 1);
        lanes.push(Some(1), 2);
        lanes.push(None, 3);
        let started = lanes.next();

        let mut rest = lanes.drain();
        rest.sort_unstable();

        assert_eq!(started, Some((Some(1), 1)));
        assert_eq!(rest, [2, 3]);
    }

    #[test]
    fn a_lane_stays_taken_by_what_runs_when_the_rest_is_given_back() {
        let mut lanes = Lanes::new();
        lanes.push(Some(1), "runs");
        lanes.push(Some(1), "waits");
        let (lane, _) = lanes.next().expect("it may start");
        lanes.push(Some(2), "ready");
        drop(lanes.drain());

        lanes.push(Some(1), "comes again");
        lanes.push(Some(2), "comes again too");
        assert_eq!(lanes.next(), Some((Some(2), "comes again too")));
        assert_eq!(lanes.next(), None, "the first run of the lane goes on");

        lanes.done(lane);
        assert_eq!(lanes.next(), Some((Some(1), "comes again")));
    }
}
