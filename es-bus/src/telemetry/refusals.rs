//! Whether the broker refuses what is published, as far as the last publishes tell.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use time::OffsetDateTime;

/// How long a refusal is told although other publishes are confirmed: where one queue of several is full,
/// both come by turns.
const TOLD_FOR: Duration = Duration::from_secs(10);

/// The last publish that the broker did not take, until others are confirmed.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Whether nothing was confirmed since.
    is_last: AtomicBool,
    last: Mutex<Option<(OffsetDateTime, String)>>,
}

impl Refusals {
    /// A publish failed, through no fault of its own.
    pub(crate) fn refused(&self, now: OffsetDateTime, reason: String) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, reason));
        self.is_last.store(true, Ordering::Release);
    }

    /// A publish was confirmed, or came back as no queue is bound: the broker takes what it gets.
    pub(crate) fn confirmed(&self) {
        // Nearly always a read alone, which costs the other publishers nothing.
        if self.is_last.load(Ordering::Relaxed) {
            self.is_last.store(false, Ordering::Release);
        }
    }

    /// Why publishes are refused at the moment, if they are.
    pub(crate) fn reason(&self, now: OffsetDateTime) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, reason) = last.as_ref()?;
        // Whichever way a clock was set meanwhile.
        let is_fresh = (now - *at).unsigned_abs() < TOLD_FOR;
        (self.is_last.load(Ordering::Acquire) || is_fresh).then(|| reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_refusal_is_told_until_a_publish_is_confirmed_and_for_a_while_beside_others() {
        let refusals = Refusals::default();
        let mut now = datetime!(2026-01-02 03:04:05 UTC);
        refusals.confirmed();
        assert_eq!(refusals.reason(now), None);

        refusals.refused(now, "full".to_owned());
        now += TOLD_FOR * 100;
        assert_eq!(refusals.reason(now).as_deref(), Some("full"), "nobody published since");
        refusals.confirmed();
        assert_eq!(refusals.reason(now), None);

        refusals.refused(now, "full again".to_owned());
        refusals.confirmed();
        assert_eq!(refusals.reason(now).as_deref(), Some("full again"), "another queue took another event");
        assert_eq!(refusals.reason(now + TOLD_FOR), None);
        assert_eq!(refusals.reason(now - TOLD_FOR), None, "the clock was set back");
    }
}
