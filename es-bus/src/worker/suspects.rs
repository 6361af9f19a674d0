//! Events that may have ended a process: which they are, and what follows from it.
//!
//! A process that is ended by an event (`abort`, a segmentation fault, too much memory) is started again,
//! is given what it had in hand, and ends again. So a worker that starts, and is first given what somebody
//! had in hand before, takes one delivery at a time, and sets those aside: a copy goes to the group's queue
//! of suspects, with the number of processes that ended over it. `alone` handles them from there, one by one.
//!
//! Killed between copy and acknowledgement: the event is there twice, and set aside twice.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::{
    copies::{Copy, Failed},
    settle::{End, Handling, Sent},
};
use crate::{
    telemetry::Counters,
    topology::GroupSpec,
    transport::{Delivery, Settlement},
    wire::{self, names},
};

/// How long after its start a worker takes what comes again for suspect. A process that ends over an event
/// later than that passes it on to the others, until it comes to one that has just started.
const CAUTIOUS_FOR: Duration = Duration::from_secs(60);

/// How a worker that has just started takes its deliveries.
#[derive(Debug)]
pub(super) struct Caution {
    started: Instant,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing came yet.
    First,
    /// What came first had been in the hand of a process that ended: one is taken at a time, until one comes
    /// that nobody had in hand.
    Narrow,
    /// As many are taken as the group may have.
    Wide,
}

/// What is to be done about a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is handled.
    Handle,
    /// It is set aside.
    SetAside,
    /// Everything goes back, and one is taken at a time.
    Narrow,
    /// The suspects have their turn, then it is handled, and as many are taken as the group may have.
    Widen,
}

impl Caution {
    /// The caution of a worker that starts now.
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), stage: Stage::First }
    }

    /// Whether it takes one delivery at a time.
    pub(super) fn is_narrow(&self) -> bool {
        self.stage == Stage::Narrow
    }

    /// Takes one delivery at a time from now on.
    pub(super) fn narrow(&mut self) {
        self.stage = Stage::Narrow;
    }

    /// Takes as many as the group may have from now on.
    pub(super) fn widen(&mut self) {
        self.stage = Stage::Wide;
    }

    /// Whether there is no need of it any more.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Wide && self.started.elapsed() >= CAUTIOUS_FOR
    }

    /// Whether it has to be asked, of a delivery that comes again, whether it was given back. What comes
    /// one at a time came back with the same crash.
    pub(super) fn asks(&self) -> bool {
        self.stage != Stage::Narrow
    }

    /// Decides over a delivery, which comes again from a process that ended, or does not.
    pub(super) fn decide(&mut self, after_crash: bool) -> Step {
        match (self.stage, after_crash) {
            (Stage::First, true) => Step::Narrow,
            (Stage::First, false) => {
                self.widen();
                Step::Handle
            }
            (Stage::Narrow, false) => Step::Widen,
            (Stage::Wide, false) => Step::Handle,
            (Stage::Narrow | Stage::Wide, true) => Step::SetAside,
        }
    }
}

/// Whether there are suspects, as far as a process knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// How often some were set aside; at the start there may be some.
    told: u64,
    /// Of these, after how many there were none any more.
    through: u64,
}

impl Turn {
    pub(super) const START: Self = Self { told: 1, through: 0 };

    /// Whether there are none.
    pub(super) fn is_over(&self) -> bool {
        self.told == self.through
    }

    /// One was set aside.
    fn told(&mut self) {
        self.told += 1;
    }

    /// What stands here when the queue is looked at; for [`none_left`](Self::none_left).
    pub(super) fn mark(self) -> u64 {
        self.told
    }

    /// There were none left when the queue was looked at.
    pub(super) fn none_left(&mut self, mark: u64) {
        self.through = mark;
    }
}

/// What becomes of an event that was taken from the queue of suspects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is handled, alone.
    Try,
    /// A process ended while it handled it alone: it goes back, with this count, before it is handled.
    Count(u32),
    /// So many processes ended over it: it goes to the dead-letter queue.
    Condemned(u32),
}

/// Decides over an event that `crashes` processes ended over so far. It is only ever taken to be handled at
/// once, with nothing else being handled: one that comes again had a process end over it.
pub(super) fn judge(crashes: u32, redelivered: bool, limit: u32) -> Verdict {
    let crashes = crashes.max(1).saturating_add(u32::from(redelivered));
    if crashes >= limit {
        Verdict::Condemned(crashes)
    } else if redelivered {
        Verdict::Count(crashes)
    } else {
        Verdict::Try
    }
}

/// The dead letters of an event that ended processes: one for each handler that it was for, or one for all.
pub(super) fn dead_letters(group: &GroupSpec, attempts: &[wire::HandlerAttempt], crashes: u32) -> Vec<Copy> {
    let letter = |handler: Option<String>, attempt| {
        Copy::DeadLetter(Failed {
            handler,
            attempt,
            reason: names::REASON_CRASHED,
            error_type: "Crashed",
            text: format!(
                "{crashes} processes of group {:?} ended while they had it in hand, the last ones while it was \
                 handled alone",
                group.name.as_str()
            ),
            run: None,
        })
    };
    if attempts.is_empty() {
        return vec![letter(None, 0)];
    }
    attempts.iter().map(|entry| letter(Some(entry.handler.clone()), entry.attempt)).collect()
}

impl Handling {
    /// Sets a delivery aside that may have ended the process before this one, and says so through `turn`.
    pub(super) async fn set_aside(&self, delivery: Delivery, turn: &watch::Sender<Turn>) -> End {
        let info = self.info(delivery.received.clone(), Arc::clone(delivery.lost()));
        let crashes = wire::crashes(info.received(), info.queue()).max(1);
        match self.publish(&Copy::Suspect { crashes }, &info).await {
            Sent::Confirmed => {}
            // Not settled: the broker hands it out again when the channel closes.
            Sent::GivenUp | Sent::Unattempted | Sent::Stale => return End::Settled,
            // It cannot be copied: it has to be handled as it is.
            Sent::Impossible => return self.handle(delivery).await,
        }
        // Before the next one comes, which asks for it.
        turn.send_modify(Turn::told);
        Counters::add(&self.context.counters.suspects);
        tracing::warn!(
            event_id = wire::event_id(info.received()).as_deref(),
            event_type = info.origin().event_type,
            routing_key = info.origin().routing_key,
            queue = info.queue(),
            crashes,
            "a process ended while it had the event in hand, among others; the event is handled alone"
        );
        if !delivery.settle(Settlement::Ack) {
            Counters::add(&self.context.counters.stale);
        }
        End::Settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::fixtures::{PLACED, group, handler};

    #[test]
    fn an_event_is_condemned_when_as_many_processes_ended_over_it_as_may() {
        for (crashes, redelivered, limit, expected) in [
            (1, false, 3, Verdict::Try),
            (1, true, 3, Verdict::Count(2)),
            (2, false, 3, Verdict::Try),
            (2, true, 3, Verdict::Condemned(3)),
            (1, true, 2, Verdict::Condemned(2)),
            // The limit was lowered meanwhile.
            (4, false, 3, Verdict::Condemned(4)),
            // No count that anybody wrote makes sense below 1.
            (0, false, 2, Verdict::Try),
            (0, true, 3, Verdict::Count(2)),
            (u32::MAX, true, 100, Verdict::Condemned(u32::MAX)),
        ] {
            assert_eq!(judge(crashes, redelivered, limit), expected, "{crashes} {redelivered} {limit}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_is_cautious_for_a_minute_and_narrow_only_after_a_crash() {
        let mut caution = Caution::new();
        assert_eq!(caution.decide(false), Step::Handle);
        assert_eq!(caution.decide(false), Step::Handle);
        assert_eq!(caution.decide(true), Step::SetAside, "another process ended");
        assert!(!caution.is_narrow() && !caution.is_over());
        tokio::time::advance(CAUTIOUS_FOR).await;
        assert!(caution.is_over());

        let mut caution = Caution::new();
        assert_eq!(caution.decide(true), Step::Narrow);
        caution.narrow();
        assert!(!caution.asks());
        assert_eq!((caution.decide(true), caution.decide(true)), (Step::SetAside, Step::SetAside));
        assert_eq!(caution.decide(false), Step::Widen);
        tokio::time::advance(CAUTIOUS_FOR).await;
        assert!(!caution.is_over(), "it is narrow still");
        caution.widen();
        assert!(caution.is_over());
    }

    #[test]
    fn a_retry_that_ends_processes_is_a_dead_letter_of_its_handlers() {
        let group = group(vec![handler("one", &["Order.*"], Some(&[PLACED]))]);
        let entry = wire::HandlerAttempt { handler: "one".into(), attempt: 2, due_ms: None };

        let of = |copies: Vec<Copy>| match copies.as_slice() {
            [Copy::DeadLetter(failed)] => (failed.handler.clone(), failed.attempt, failed.reason),
            other => panic!("{other:?}"),
        };

        assert_eq!(of(dead_letters(&group, &[], 3)), (None, 0, "crashed"));
        assert_eq!(of(dead_letters(&group, &[entry], 3)), (Some("one".into()), 2, "crashed"));
    }
}
