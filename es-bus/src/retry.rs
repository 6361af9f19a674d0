//! How often and how soon a failed event is tried again.
//!
//! Pure arithmetic: attempt number in, delay out. The clock is the broker's, chance comes in as an
//! argument.

use std::{collections::BTreeSet, time::Duration};

/// When a handler's failed events come back: `min(base · 2ⁿ, max)`, `retries` times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// How many attempts follow the first; 0 dead-letters at the first failure.
    pub retries: u32,
    /// The delay before the first retry.
    pub base: Duration,
    /// The longest delay.
    pub max: Duration,
    /// How far a delay is spread to either side, as a fraction of it: 0.1 for ± 10 %.
    pub jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 3, base: Duration::from_secs(1), max: Duration::from_secs(60), jitter: 0.1 }
    }
}

impl RetryPolicy {
    /// Whether another attempt follows after `attempt` failures before this one.
    #[must_use]
    pub fn allows(&self, attempt: u32) -> bool {
        attempt < self.retries
    }

    /// The delay before the next attempt, `attempt` failures having gone before this one; `None`
    /// once the retries are spent.
    #[must_use]
    pub fn delay(&self, attempt: u32) -> Option<Duration> {
        self.allows(attempt).then(|| {
            let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
            whole_ms(self.base.saturating_mul(factor).min(self.max))
        })
    }

    /// How long all delays are together, jitter aside: an event is tried for at least so long.
    #[must_use]
    pub(crate) fn span(&self) -> Duration {
        let delays = (0..self.retries).map_while(|attempt| self.delay(attempt));
        delays.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// Every distinct delay that the policy can ask for, shortest first.
    #[must_use]
    pub fn delays(&self) -> Vec<Duration> {
        let mut delays = BTreeSet::new();
        for attempt in 0..self.retries {
            // Past the ceiling every delay is the same one.
            if let Some(delay) = self.delay(attempt)
                && !delays.insert(delay)
            {
                break;
            }
        }
        delays.into_iter().collect()
    }
}

/// Spreads a delay by up to `jitter` to either side; `chance` is uniform in 0..1.
///
/// Never less than a millisecond, the broker's unit.
#[must_use]
pub(crate) fn spread(delay: Duration, jitter: f64, chance: f64) -> Duration {
    let factor = 1.0 + jitter.clamp(0.0, 1.0) * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
    whole_ms(delay.mul_f64(factor.max(0.0)))
}

/// The rung that a wait of `remaining` takes next: the longest that fits, else the shortest there
/// is, so that nothing fires early. `None` when there is no rung at all.
#[must_use]
pub(crate) fn next_rung(rungs: &[Duration], remaining: Duration) -> Option<Duration> {
    rungs.iter().copied().filter(|rung| *rung <= remaining).max().or_else(|| rungs.iter().copied().min())
}

fn whole_ms(delay: Duration) -> Duration {
    let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(ms.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn doubles_up_to_the_ceiling_and_then_gives_up() {
        let policy = RetryPolicy { retries: 8, ..RetryPolicy::default() };

        let delays: Vec<_> = (0..9).map(|attempt| policy.delay(attempt)).collect();

        let expected = [1, 2, 4, 8, 16, 32, 60, 60].map(|n| Some(s(n)));
        assert_eq!(delays[..8], expected);
        assert_eq!(delays[8], None);
        assert_eq!(policy.delays(), [1, 2, 4, 8, 16, 32, 60].map(s));
    }

    #[test]
    fn a_thousand_retries_do_not_overflow() {
        let policy = RetryPolicy { retries: 1000, ..RetryPolicy::default() };

        assert_eq!(policy.delay(999), Some(s(60)));
        assert_eq!(policy.span(), s(1 + 2 + 4 + 8 + 16 + 32 + 994 * 60));
        assert_eq!(policy.delays().len(), 7);
    }

    #[test]
    fn no_retries_means_no_delay() {
        let policy = RetryPolicy { retries: 0, ..RetryPolicy::default() };

        assert_eq!(policy.delay(0), None);
        assert!(policy.delays().is_empty());
    }

    #[test]
    fn spreads_to_either_side_and_never_to_nothing() {
        assert_eq!(spread(s(10), 0.1, 0.5), s(10));
        assert_eq!(spread(s(10), 0.1, 0.0), s(9));
        assert_eq!(spread(s(10), 0.1, 1.0), s(11));
        assert_eq!(spread(Duration::from_millis(1), 1.0, 0.0), Duration::from_millis(1));
    }

    #[test]
    fn climbs_the_longest_rung_that_fits() {
        let rungs = [s(1), s(2), s(4), s(30), s(300)];

        assert_eq!(next_rung(&rungs, s(700)), Some(s(300)));
        assert_eq!(next_rung(&rungs, s(100)), Some(s(30)));
        assert_eq!(next_rung(&rungs, Duration::from_millis(300)), Some(s(1)));
        assert_eq!(next_rung(&[], s(5)), None);
    }
}
