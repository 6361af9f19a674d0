//! Whether the broker refuses what is published, as far as the last publishes tell.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How long a refusal is told although other publishes are confirmed: where one queue of several is full,
/// both come by turns.
const TOLD_FOR: Duration = Duration::from_secs(10);

/// The last publish that the broker did not take, until others are confirmed.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Whether nothing was confirmed since.
    is_last: AtomicBool,
    last: Mutex<Option<(Instant, String)>>,
}

impl Refusals {
    /// A publish failed, through no fault of its own.
    pub(crate) fn refused(&self, reason: String) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), reason));
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
    pub(crate) fn reason(&self) -> Option<String> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, reason) = last.as_ref()?;
        (self.is_last.load(Ordering::Acquire) || at.elapsed() < TOLD_FOR).then(|| reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_told_until_a_publish_is_confirmed_and_for_a_while_beside_others() {
        let refusals = Refusals::default();
        refusals.confirmed();
        assert_eq!(refusals.reason(), None);

        refusals.refused("full".to_owned());
        advance(TOLD_FOR * 100).await;
        assert_eq!(refusals.reason().as_deref(), Some("full"), "nobody published since");
        refusals.confirmed();
        assert_eq!(refusals.reason(), None);

        refusals.refused("full again".to_owned());
        refusals.confirmed();
        assert_eq!(refusals.reason().as_deref(), Some("full again"), "another queue took another event");
        advance(TOLD_FOR).await;
        assert_eq!(refusals.reason(), None);
    }
}
