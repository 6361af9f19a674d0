//! Which deliveries are settled, and the fewest methods that tell the broker so.
//!
//! One consumer has its channel to itself, so delivery tags count 1, 2, 3 … without gaps. What is
//! settled up to the *low-water mark* goes in one `basic.ack` with `multiple`; what is finished
//! above it goes alone, so that one slow delivery does not hold the prefetch.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use crate::transport::Settlement;

/// A delivery is held when so many that came after it were told one by one, ...
const PASSED: u64 = 256;
/// ... or so many times the prefetch, where that is more, ...
const PREFETCHES: u64 = 4;
/// ... and the first of them was so long ago. Where most take as long, there is nothing to gain.
const HELD_FOR: Duration = Duration::from_millis(100);

/// A method that settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// `basic.ack`, of all up to the tag when `multiple`.
    Ack {
        /// The delivery tag.
        tag: u64,
        /// Whether those before it are meant as well.
        multiple: bool,
    },
    /// `basic.nack` of one.
    Nack {
        /// The delivery tag.
        tag: u64,
        /// Whether it goes back to the queue.
        requeue: bool,
    },
}

/// What is settled, and what of it the broker has been told.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    /// The broker has been told of all up to here.
    low: u64,
    /// The broker has been told of these, which lie above it: first to last of each run without a
    /// gap. Every gap is a delivery in hand, so there are never more runs than the prefetch, however
    /// long one delivery stays unsettled.
    above: BTreeMap<u64, u64>,
    /// To be told, in the order in which they were settled.
    pending: Vec<(u64, Settlement)>,
    /// How many were told one by one since the mark last rose, and since when.
    passed: Option<(u64, Instant)>,
}

impl Tracker {
    /// Notes a settlement, and says how many wait to be told.
    pub(super) fn settle(&mut self, tag: u64, settlement: Settlement) -> usize {
        self.pending.push((tag, settlement));
        self.pending.len()
    }

    /// What to tell the broker now, in this order.
    ///
    /// Negative acknowledgements come first, in ascending order: a quorum queue puts messages back
    /// in the order in which they are given back, and a `multiple` must not find them unsettled.
    pub(super) fn flush(&mut self, now: Instant) -> Vec<Command> {
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_by_key(|(tag, _)| *tag);
        let (low, mut commands, mut acks) = (self.low, Vec::new(), Vec::new());
        for (tag, settlement) in pending {
            // A second settlement of one tag would close the channel.
            if tag <= self.low || self.is_above(tag) {
                continue;
            }
            match settlement {
                Settlement::Ack => acks.push(tag),
                Settlement::Requeue => commands.push(Command::Nack { tag, requeue: true }),
                Settlement::Reject => commands.push(Command::Nack { tag, requeue: false }),
            }
            self.note(tag);
        }
        let below = acks.partition_point(|tag| *tag <= self.low);
        let singles = (acks.len() - below) as u64;
        let (passed, since) = self.passed.filter(|_| self.low == low).unwrap_or((0, now));
        self.passed = (passed + singles > 0).then_some((passed + singles, since));
        if let Some(last) = acks[..below].last() {
            // The last one must be known to the broker still; it is, since it was pending.
            commands.push(Command::Ack { tag: *last, multiple: below > 1 });
        }
        commands.extend(acks[below..].iter().map(|tag| Command::Ack { tag: *tag, multiple: false }));
        commands
    }

    /// How many deliveries are held so long that the others would be told of with fewer methods on another
    /// channel; 0 where that is not so.
    pub(super) fn held(&self, prefetch: u16, now: Instant) -> usize {
        let prefetch = u64::from(prefetch);
        let is_held = self.passed.is_some_and(|(passed, since)| {
            passed >= PASSED.max(PREFETCHES * prefetch) && now.duration_since(since) >= HELD_FOR
        });
        let Some((_, last)) = self.above.last_key_value().filter(|_| is_held) else { return 0 };
        // What came after these is in the ordinary course of things.
        let until = last.saturating_sub(2 * prefetch);
        let (mut held, mut from) = (0, self.low + 1);
        for (first, last) in &self.above {
            held += (*first).min(until + 1).saturating_sub(from);
            from = last + 1;
        }
        usize::try_from(held).unwrap_or(usize::MAX)
    }

    /// How many settlements the broker was told of.
    pub(super) fn told(&self) -> u64 {
        self.low + self.above.iter().map(|(first, last)| last - first + 1).sum::<u64>()
    }

    fn is_above(&self, tag: u64) -> bool {
        self.above.range(..=tag).next_back().is_some_and(|(_, last)| tag <= *last)
    }

    /// Raises the mark to a tag, or adds it to the runs above.
    fn note(&mut self, tag: u64) {
        let last = self.above.remove(&(tag + 1)).unwrap_or(tag);
        if tag == self.low + 1 {
            self.low = last;
            return;
        }
        match self.above.range_mut(..tag).next_back() {
            Some((_, end)) if *end + 1 == tag => *end = last,
            _ => {
                self.above.insert(tag, last);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, ops::RangeInclusive};

    use proptest::prelude::*;

    use super::*;

    /// The broker's side of a channel, which is as strict as RabbitMQ.
    #[derive(Default)]
    struct Broker {
        unsettled: BTreeSet<u64>,
        settled: BTreeMap<u64, Settlement>,
    }

    impl Broker {
        fn obey(&mut self, command: Command) {
            match command {
                Command::Ack { tag, multiple } => {
                    assert!(self.unsettled.contains(&tag), "unknown delivery tag {tag}");
                    let from = if multiple { 0 } else { tag };
                    let tags: Vec<u64> = self.unsettled.range(from..=tag).copied().collect();
                    for tag in tags {
                        self.unsettled.remove(&tag);
                        self.settled.insert(tag, Settlement::Ack);
                    }
                }
                Command::Nack { tag, requeue } => {
                    assert!(self.unsettled.remove(&tag), "unknown delivery tag {tag}");
                    let settlement = if requeue { Settlement::Requeue } else { Settlement::Reject };
                    self.settled.insert(tag, settlement);
                }
            }
        }
    }

    #[test]
    fn one_multiple_settles_what_is_finished_in_order() {
        let mut tracker = Tracker::default();
        for tag in 1..=50 {
            tracker.settle(tag, Settlement::Ack);
        }

        assert_eq!(tracker.flush(Instant::now()), [Command::Ack { tag: 50, multiple: true }]);
        assert_eq!(tracker.flush(Instant::now()), []);
    }

    #[test]
    fn a_slow_delivery_does_not_hold_back_those_after_it() {
        let mut tracker = Tracker::default();
        for tag in [2, 3, 1, 5] {
            tracker.settle(tag, Settlement::Ack);
        }

        assert_eq!(
            tracker.flush(Instant::now()),
            [Command::Ack { tag: 3, multiple: true }, Command::Ack { tag: 5, multiple: false }]
        );
        tracker.settle(4, Settlement::Ack);
        assert_eq!(tracker.flush(Instant::now()), [Command::Ack { tag: 4, multiple: false }]);
        tracker.settle(6, Settlement::Ack);
        tracker.settle(7, Settlement::Ack);
        assert_eq!(tracker.flush(Instant::now()), [Command::Ack { tag: 7, multiple: true }]);
    }

    /// Those that are in hand now do not count as held, nor does one that few have passed, or not for long.
    #[tokio::test(start_paused = true)]
    async fn tells_how_many_are_held_for_long() {
        let mut tracker = Tracker::default();
        let settle = |tracker: &mut Tracker, tags: RangeInclusive<u64>| {
            for tag in tags.filter(|tag| ![1, 7, 300].contains(tag)) {
                tracker.settle(tag, Settlement::Ack);
            }
            tracker.flush(Instant::now());
        };
        settle(&mut tracker, 2..=250);
        tokio::time::advance(HELD_FOR).await;
        settle(&mut tracker, 251..=255);
        assert_eq!(tracker.held(10, Instant::now()), 0, "few have passed");
        settle(&mut tracker, 256..=301);
        assert_eq!(tracker.held(10, Instant::now()), 2, "1 and 7");
        assert_eq!(tracker.held(100, Instant::now()), 0, "few for such a prefetch");
        assert_eq!(tracker.told(), 298);

        settle(&mut tracker, 302..=400);
        assert_eq!(tracker.held(10, Instant::now()), 3, "1, 7 and 300");

        tracker.settle(1, Settlement::Ack);
        tracker.flush(Instant::now());
        assert_eq!(tracker.held(10, Instant::now()), 0, "7 is the first now");
        settle(&mut tracker, 401..=700);
        assert_eq!(tracker.held(10, Instant::now()), 0, "not for long");
        tokio::time::advance(HELD_FOR).await;
        assert_eq!(tracker.held(10, Instant::now()), 2, "7 and 300");
    }

    #[test]
    fn what_is_given_back_goes_first_and_in_order() {
        let mut tracker = Tracker::default();
        tracker.settle(4, Settlement::Ack);
        tracker.settle(3, Settlement::Requeue);
        tracker.settle(2, Settlement::Reject);
        tracker.settle(1, Settlement::Ack);

        assert_eq!(
            tracker.flush(Instant::now()),
            [
                Command::Nack { tag: 2, requeue: false },
                Command::Nack { tag: 3, requeue: true },
                Command::Ack { tag: 4, multiple: true },
            ]
        );
    }

    #[test]
    fn a_second_settlement_of_one_delivery_is_ignored() {
        let mut tracker = Tracker::default();
        tracker.settle(1, Settlement::Ack);
        tracker.flush(Instant::now());
        tracker.settle(3, Settlement::Ack);
        tracker.flush(Instant::now());

        tracker.settle(1, Settlement::Requeue);
        tracker.settle(3, Settlement::Requeue);
        assert_eq!(tracker.flush(Instant::now()), []);
    }

    #[test]
    fn one_delivery_that_is_never_settled_costs_no_memory() {
        let mut tracker = Tracker::default();
        for tag in 2..=100_000 {
            tracker.settle(tag, Settlement::Ack);
            if tag % 64 == 0 {
                tracker.flush(Instant::now());
            }
        }
        tracker.flush(Instant::now());

        assert_eq!(tracker.above.len(), 1);
        tracker.settle(1, Settlement::Ack);
        assert_eq!(tracker.flush(Instant::now()), [Command::Ack { tag: 1, multiple: false }]);
        assert_eq!((tracker.low, tracker.above.len()), (100_000, 0));
    }

    proptest! {
        #[test]
        fn the_broker_is_told_each_settlement_once(
            order in Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(),
            settlements in proptest::collection::vec(0..6_u8, 40),
            flushes in proptest::collection::vec(any::<bool>(), 40),
            count in 0..=40_usize,
        ) {
            let mut tracker = Tracker::default();
            let mut broker = Broker { unsettled: (1..=40).collect(), ..Broker::default() };
            let mut expected = BTreeMap::new();

            for index in 0..count {
                let settlement = match settlements[index] {
                    0 => Settlement::Requeue,
                    1 => Settlement::Reject,
                    _ => Settlement::Ack,
                };
                tracker.settle(order[index], settlement);
                expected.insert(order[index], settlement);
                if flushes[index] {
                    tracker.flush(Instant::now()).into_iter().for_each(|command| broker.obey(command));
                    prop_assert_eq!(&broker.settled, &expected);
                }
            }
            tracker.flush(Instant::now()).into_iter().for_each(|command| broker.obey(command));

            prop_assert_eq!(&broker.settled, &expected);
        }
    }
}
