//! Groups in strict order: a failed event is tried again where it is. Its lane is held, the delivery
//! stays unacknowledged, and nothing of its aggregate passes it.
//!
//! Nothing is given back one by one: what a broker puts back singly, the next consumer may get in
//! another order, or after what is behind it. The channel closes with everything that is unsettled,
//! and the broker puts that back as it was.
//!
//! Attempts are counted in memory. Killed at any await: the event comes again, to whichever process is
//! active then, as if it had never been tried.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use rand::Rng;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    copies::{Copy, Ran, wait},
    settle::{Handling, NO_ROOM},
};
use crate::{
    duration,
    handler::DeliveryInfo,
    outcome::{Decision, HandlerError, Outcome},
    telemetry::Counters,
    topology::{HandlerSpec, Patience},
};

/// The hold that this process has on a delivery.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    /// Cancelled when the consumer is about to end.
    leaving: CancellationToken,
    /// When the delivery came; the broker waits from here.
    taken: Instant,
    /// When it was first tried.
    started: Instant,
    /// How long the broker waits.
    patience: Patience,
}

impl Hold {
    /// A hold on a delivery that is started now.
    pub(super) fn new(consumer: &CancellationToken, taken: Instant, patience: Patience) -> Self {
        // A child: an event that runs out of time wakes its own handlers, not those of others.
        Self { leaving: consumer.child_token(), taken, started: Instant::now(), patience }
    }

    /// Whether the broker waits for one more run.
    fn has_time(&self, timeout: Duration) -> bool {
        self.patience.fits(self.taken.elapsed(), Duration::ZERO, timeout)
    }

    /// Rests before the next run; `false` when that is not to be here.
    async fn rest(&self, pause: Duration, timeout: Duration) -> bool {
        if !self.patience.fits(self.taken.elapsed(), pause, timeout) {
            self.leaving.cancel();
            return false;
        }
        tokio::select! {
            biased;
            () = self.leaving.cancelled() => false,
            () = sleep(pause) => true,
        }
    }
}

impl Handling {
    /// Runs each handler until it is through with the event; `None` when the event is to come again.
    /// Those that are done run again then.
    pub(super) async fn run_in_place(
        &self,
        hold: &Hold,
        info: &Arc<DeliveryInfo>,
        run: &[(usize, u32)],
    ) -> Option<Vec<Ran>> {
        let longest = run.iter().map(|(handler, _)| self.group.handlers[*handler].timeout).max();
        if !hold.has_time(longest.unwrap_or_default()) {
            return None;
        }
        let ran =
            join_all(run.iter().map(|(handler, attempt)| self.until_through(hold, info, *handler, *attempt)));
        ran.await.into_iter().collect()
    }

    async fn until_through(
        &self,
        hold: &Hold,
        info: &Arc<DeliveryInfo>,
        handler: usize,
        mut attempt: u32,
    ) -> Option<Ran> {
        let spec = &self.group.handlers[handler];
        loop {
            let pause = match self.run_one(info, handler, attempt).await {
                Ok(ran) => {
                    let pause = ran.decision.pause(spec.policy.jitter, || rand::rng().random());
                    let Some(pause) = pause else { return Some(ran) };
                    Counters::add(&self.context.counters.retried);
                    attempt += 1;
                    pause
                }
                // A layer has no room: no attempt was made.
                Err(_entry) => NO_ROOM,
            };
            if !hold.rest(pause, spec.timeout).await {
                return None;
            }
        }
    }

    /// Lets an event that nobody here knows wait for this process to make way for one that does;
    /// `None` when it did. Otherwise what is left to do with the event.
    pub(super) async fn wait_in_place(&self, hold: &Hold) -> Option<Vec<Copy>> {
        let unknown = self.group.settings.unknown_wait;
        let pause = unknown.delay.saturating_mul(unknown.times).min(hold.patience.limit());
        hold.rest(pause, Duration::ZERO).await.then(|| wait(&self.group, &[], unknown.times))
    }
}

/// Gives up what asks to be tried again later than the broker waits.
pub(super) fn within_reach(hold: &Hold, spec: &HandlerSpec, mut ran: Ran) -> Ran {
    let Some(pause) = ran.decision.pause(spec.policy.jitter, || 1.0) else { return ran };
    if hold.patience.fits(hold.started.elapsed(), pause, spec.timeout) {
        return ran;
    }
    ran.decision = Decision::DeadLetter;
    if let Outcome::Failed(error) = &ran.outcome {
        let text = format!(
            "{}; trying again after {} does not fit into the {} that an event is kept in hand under ordering = \"strict\"",
            error.text(),
            duration::print(pause),
            duration::print(hold.patience.limit()),
        );
        ran.outcome = Outcome::Failed(HandlerError::of_kind(error.kind(), text));
    }
    ran
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::Wait,
        topology::fixtures::{PLACED, group, handler},
    };

    const fn min(n: u64) -> Duration {
        Duration::from_secs(n * 60)
    }

    fn failed(error: HandlerError) -> Ran {
        let group = group(vec![handler("one", &["Order.*"], Some(&[PLACED]))]);
        Ran::new(&group, 0, 0, Outcome::Failed(error))
    }

    fn held_by(consumer: &CancellationToken) -> Hold {
        Hold::new(consumer, Instant::now(), Patience::of(Some(min(30))))
    }

    #[tokio::test(start_paused = true)]
    async fn what_asks_for_more_time_than_there_is_is_dead_lettered_and_says_so() {
        let hold = held_by(&CancellationToken::new());
        let spec = handler("one", &["Order.*"], Some(&[PLACED]));

        let near = within_reach(&hold, &spec, failed(HandlerError::retry_after(min(24), "busy")));
        let far = within_reach(&hold, &spec, failed(HandlerError::retry_after(min(25), "busy")));
        tokio::time::advance(min(10)).await;
        let late = within_reach(&hold, &spec, failed(HandlerError::retry_after(min(24), "busy")));

        assert_eq!(near.decision, Decision::Retry(Wait::AtLeast(min(24))));
        assert_eq!((far.decision, late.decision), (Decision::DeadLetter, Decision::DeadLetter));
        let Outcome::Failed(error) = far.outcome else { panic!("it failed") };
        assert_eq!(
            error.text(),
            "busy; trying again after 25m does not fit into the 29m that an event is kept in hand under ordering = \
             \"strict\""
        );
    }

    #[tokio::test(start_paused = true)]
    async fn rests_until_it_is_time_or_the_consumer_ends() {
        let consumer = CancellationToken::new();
        let hold = held_by(&consumer);

        assert!(hold.rest(min(1), min(5)).await);
        assert!(!hold.rest(min(25), min(5)).await, "the broker would take it back meanwhile");
        assert!(!consumer.is_cancelled(), "that is no matter of other events");
        let hold = held_by(&consumer);
        consumer.cancel();
        assert!(!hold.rest(min(1), min(5)).await);
    }
}
