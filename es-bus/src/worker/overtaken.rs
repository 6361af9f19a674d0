//! Which lanes have an event away, waiting for its retry: what of such a lane starts overtakes it.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// How many lanes are remembered, at most; what is beyond is not counted.
const MOST: usize = 10_000;

/// The lanes of which an event is away, and until when at least. Of several of one lane the last one
/// counts.
#[derive(Default)]
pub(super) struct Away(HashMap<u64, Instant>);

impl Away {
    /// Whether there is nothing to ask for.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An event of the lane waits for its retry.
    pub(super) fn leaves(&mut self, lane: Option<u64>, stay: Duration) {
        let Some(lane) = lane else { return };
        let now = Instant::now();
        if self.0.len() >= MOST {
            self.0.retain(|_, until| *until > now);
        }
        if let Some(until) = now.checked_add(stay)
            && self.0.len() < MOST
        {
            self.0.insert(lane, until);
        }
    }

    /// Whether an event that starts now overtakes one of its lane; one that comes back does not.
    pub(super) fn is_overtaken(&mut self, lane: Option<u64>, comes_back: bool) -> bool {
        let Some(lane) = lane else { return false };
        match self.0.get(&lane) {
            Some(until) if !comes_back && *until > Instant::now() => true,
            Some(_) => {
                self.0.remove(&lane);
                false
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lane_is_overtaken_until_its_event_comes_back_or_is_due() {
        let mut away = Away::default();
        away.leaves(Some(1), Duration::from_secs(1));
        away.leaves(Some(2), Duration::from_secs(1));
        away.leaves(None, Duration::from_secs(1));

        assert!(away.is_overtaken(Some(1), false));
        assert!(away.is_overtaken(Some(1), false));
        assert!(!away.is_overtaken(Some(1), true));
        assert!(!away.is_overtaken(Some(1), false), "it is back");
        assert!(!away.is_overtaken(Some(3), false) && !away.is_overtaken(None, false));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!away.is_overtaken(Some(2), false));
        assert!(away.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_lanes_are_remembered_than_there_is_room_for() {
        let mut away = Away::default();
        for lane in 0..20_000 {
            away.leaves(Some(lane), Duration::from_secs(1));
        }
        assert_eq!(away.0.len(), MOST);
        tokio::time::advance(Duration::from_secs(1)).await;
        away.leaves(Some(20_000), Duration::from_secs(1));
        assert_eq!(away.0.len(), 1);
    }
}
