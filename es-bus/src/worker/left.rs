//! Consumers that were left with what they hold.
//!
//! An event that is handled for long stands in the way of acknowledging many others at once: each is then
//! acknowledged by itself, which costs the broker nearly twice as much for an event. So its consumer ends, with
//! what it holds, and another one goes on, on a channel of its own. The prefetch of that one is as much smaller
//! as the others were seen to hold, so that in the long run no more is in hand than the group may have (what was
//! in hand beside that is through in a moment); when they are through, the next consumer has all of it again.

use std::sync::{Arc, Weak};

use crate::transport::Settle;

/// Each has a channel.
const MOST: usize = 8;

/// The consumers that were left, as long as they hold something.
#[derive(Default)]
pub(super) struct Left {
    consumers: Vec<(Weak<dyn Settle>, usize)>,
    /// How much of the prefetch the consumer of this moment does without.
    without: usize,
}

impl Left {
    /// Whether there are any.
    pub(super) fn is_any(&self) -> bool {
        !self.consumers.is_empty()
    }

    /// Leaves a consumer.
    pub(super) fn add(&mut self, consumer: &Arc<dyn Settle>) {
        self.consumers.push((Arc::downgrade(consumer), consumer.held()));
    }

    /// How much the next consumer may take, of what the group may have in hand, and how much of that it may be left
    /// with in its turn: one half stays for what is quick.
    pub(super) fn prefetch(&mut self, of_group: u16) -> (u16, usize) {
        self.forget();
        self.without = self.held();
        let prefetch = of_group.saturating_sub(u16::try_from(self.without).unwrap_or(u16::MAX)).max(1);
        let may_hold = if self.consumers.len() < MOST {
            usize::from(of_group / 2).saturating_sub(self.without)
        } else {
            0
        };
        (prefetch, may_hold)
    }

    /// Whether fewer are held than when the consumer of this moment began.
    pub(super) fn are_fewer(&mut self) -> bool {
        if self.without == 0 {
            return false;
        }
        self.forget();
        self.held() < self.without
    }

    fn held(&self) -> usize {
        self.consumers.iter().map(|(_, held)| held).sum()
    }

    /// Forgets those that hold nothing any more, or whose channel is gone.
    fn forget(&mut self) {
        self.consumers.retain(|(consumer, _)| {
            consumer.upgrade().is_some_and(|consumer| !consumer.lost().is_cancelled())
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{handler::BoxFuture, transport::Settlement};

    struct Holding(usize, Arc<CancellationToken>);

    impl Settle for Holding {
        fn settle(&self, _tag: u64, _settlement: Settlement) -> bool {
            true
        }

        fn lost(&self) -> &Arc<CancellationToken> {
            &self.1
        }

        fn held(&self) -> usize {
            self.0
        }

        fn leave(&self) {}

        fn has_left(&self) -> bool {
            true
        }

        fn flush(&self) -> BoxFuture<'_, ()> {
            Box::pin(async {})
        }

        fn cancel(&self) -> BoxFuture<'_, ()> {
            Box::pin(async {})
        }

        fn close(&self) -> BoxFuture<'_, ()> {
            Box::pin(async {})
        }
    }

    fn holding(count: usize) -> Arc<dyn Settle> {
        Arc::new(Holding(count, Arc::default()))
    }

    #[test]
    fn no_more_is_in_hand_than_the_group_may_have() {
        let mut left = Left::default();
        assert_eq!(left.prefetch(10), (10, 5));
        assert!(!left.are_fewer());

        let (first, second) = (holding(2), holding(3));
        left.add(&first);
        assert_eq!(left.prefetch(10), (8, 3));
        left.add(&second);
        assert_eq!(left.prefetch(10), (5, 0), "one half stays for what is quick");
        assert!(!left.are_fewer());

        drop(first);
        assert!(left.are_fewer());
        assert_eq!(left.prefetch(10), (7, 2));
        assert!(!left.are_fewer());
    }

    #[test]
    fn a_channel_that_is_gone_holds_nothing() {
        let lost = Arc::new(CancellationToken::new());
        let consumer: Arc<dyn Settle> = Arc::new(Holding(4, Arc::clone(&lost)));
        let mut left = Left::default();
        left.add(&consumer);
        assert_eq!(left.prefetch(100), (96, 46));

        lost.cancel();

        assert!(left.are_fewer());
        assert_eq!(left.prefetch(100), (100, 50));
    }

    #[test]
    fn there_is_a_most_of_channels() {
        let consumers: Vec<_> = (0..MOST).map(|_| holding(1)).collect();
        let mut left = Left::default();
        consumers.iter().for_each(|consumer| left.add(consumer));

        assert_eq!(left.prefetch(100), (92, 0));
    }

    #[test]
    fn a_prefetch_of_one_is_never_left() {
        assert_eq!(Left::default().prefetch(1), (1, 0));
    }
}
