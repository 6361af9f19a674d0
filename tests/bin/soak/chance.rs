//! Chance that is the same on every machine: SplitMix64.

use std::{ops::Range, time::Duration};

/// A sequence of numbers that its seed decides.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below the limit; 0 when that is 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // The remainder favours small numbers by less than one in 2^50 here.
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    /// One of the list.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// A time out of a range of milliseconds, which is not empty.
    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        let width = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        Duration::from_millis(range.start + self.below(width) as u64)
    }
}
