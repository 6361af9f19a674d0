//! Whether a handler may run where all deliveries are started, or would keep the others waiting there.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// What a task of its own costs a run several times over.
const QUICK: Duration = Duration::from_micros(20);

/// How many quick runs in a row a handler is known by.
const REMEMBERED: u32 = 64;

/// How long the last runs of a handler took. One that has not run yet may block its thread for ever.
#[derive(Debug)]
pub(crate) struct Pace {
    /// So many quick runs from now it is no longer known as slow.
    slow_for: AtomicU32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { slow_for: AtomicU32::new(REMEMBERED) }
    }
}

impl Pace {
    /// Whether one of the last runs took its time. Of what a handler does in it, work and waiting are the same
    /// here: neither gains by being begun elsewhere.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow_for.load(Ordering::Relaxed) > 0
    }

    /// Notes a run. Of two at the same time one may go uncounted.
    pub(crate) fn took(&self, time: Duration) {
        let before = self.slow_for.load(Ordering::Relaxed);
        let after = if time > QUICK { REMEMBERED } else { before.saturating_sub(1) };
        if before != after {
            self.slow_for.store(after, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_quick_after_many_quick_runs_until_one_is_slow() {
        let pace = Pace::default();
        for _ in 0..2 {
            for _ in 0..REMEMBERED {
                assert!(pace.is_slow());
                pace.took(QUICK);
            }
            assert!(!pace.is_slow());
            pace.took(QUICK * 2);
        }
    }
}
