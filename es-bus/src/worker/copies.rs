//! Outcomes → the messages that have to be published before the delivery is acknowledged. Pure.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use time::OffsetDateTime;

use super::dispatch::Concerned;
use crate::{
    outcome::{Decision, Outcome, Wait, decide},
    retry::{next_rung, spread},
    topology::{GroupSpec, delay_name},
    wire::{FailureInfo, HandlerAttempt, names},
};

/// A message that has to be on the broker before the delivery is acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Copy {
    /// Comes back to the group after a delay, for some of its handlers.
    Retry { handlers: Vec<HandlerAttempt>, stay: Stay, failure: Failed },
    /// Comes back after a delay: nobody here knows the event or the handler, or its time has not come.
    Wait { handlers: Vec<HandlerAttempt>, stay: Stay, waits: u32, reason: &'static str },
    /// Ends in the dead-letter queue.
    DeadLetter(Failed),
}

/// How long a copy stays away.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stay {
    /// The name of the delay, which picks the queue.
    pub(super) delay: String,
    /// How long exactly.
    pub(super) time: Duration,
}

/// What went wrong, and for whom.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failed {
    /// The handler; `None` when the event never came to one.
    pub(super) handler: Option<String>,
    /// How many retries it had.
    pub(super) attempt: u32,
    pub(super) reason: &'static str,
    pub(super) error_type: &'static str,
    pub(super) text: String,
}

impl Failed {
    pub(super) fn info(&self) -> FailureInfo<'_> {
        FailureInfo { reason: self.reason, error_type: self.error_type, text: Cow::Borrowed(&self.text) }
    }
}

/// What one handler's run came to.
pub(super) struct Ran {
    /// Its place in the group.
    pub(super) handler: usize,
    /// How many attempts failed before.
    pub(super) attempt: u32,
    /// What it came to.
    pub(super) outcome: Outcome,
    /// What follows.
    pub(super) decision: Decision,
}

impl Ran {
    pub(super) fn new(group: &GroupSpec, handler: usize, attempt: u32, outcome: Outcome) -> Self {
        let decision = match decide(&outcome, attempt, &group.handlers[handler].policy) {
            // A group without a ladder and without retries has nowhere to wait.
            Decision::Retry(Wait::AtLeast(_)) if group.delays().is_empty() => Decision::DeadLetter,
            decision => decision,
        };
        Self { handler, attempt, outcome, decision }
    }
}

/// One copy per distinct delay, one dead letter per handler that is through with its retries.
pub(super) fn copies(
    group: &GroupSpec,
    ran: &[Ran],
    concerned: &Concerned,
    waits: u32,
    now: OffsetDateTime,
    chance: f64,
) -> Vec<Copy> {
    let rungs = group.delays();
    let mut copies = Vec::new();
    let mut retries: BTreeMap<Duration, (Vec<HandlerAttempt>, Duration, Failed)> = BTreeMap::new();
    for run in ran {
        let spec = &group.handlers[run.handler];
        let Outcome::Failed(error) = &run.outcome else { continue };
        let failed = || Failed {
            handler: Some(spec.def.name.to_owned()),
            attempt: run.attempt,
            reason: error.kind().as_str(),
            error_type: error.type_name(),
            text: error.to_string(),
        };
        let (delay, stay, due_ms) = match run.decision {
            Decision::Done { .. } => continue,
            Decision::DeadLetter => {
                copies.push(Copy::DeadLetter(failed()));
                continue;
            }
            Decision::Retry(Wait::Policy(delay)) => (delay, spread(delay, spec.policy.jitter, chance), None),
            // Never early: the rung itself is not spread.
            Decision::Retry(Wait::AtLeast(delay)) => {
                let rung = next_rung(&rungs, delay).unwrap_or(delay);
                (rung, rung, Some(unix_ms(now + delay)))
            }
        };
        let (handlers, longest, _) = retries.entry(delay).or_insert_with(|| (Vec::new(), stay, failed()));
        // Two that share a queue share a copy; the one that may not be early decides.
        *longest = stay.max(*longest);
        handlers.push(HandlerAttempt { handler: spec.def.name.to_owned(), attempt: run.attempt + 1, due_ms });
    }
    copies.extend(retries.into_iter().map(|(delay, (handlers, time, failure))| Copy::Retry {
        handlers,
        stay: Stay { delay: delay_name(delay), time },
        failure,
    }));
    copies.extend(not_yet(&rungs, &concerned.later, now));
    if !concerned.gone.is_empty() {
        copies.extend(wait(group, &concerned.gone, waits));
    }
    copies
}

/// The next rung for handlers whose time has not come.
fn not_yet(rungs: &[Duration], later: &[HandlerAttempt], now: OffsetDateTime) -> Vec<Copy> {
    let mut by_rung: BTreeMap<Duration, Vec<HandlerAttempt>> = BTreeMap::new();
    for entry in later {
        let left = entry.due_ms.map_or(0, |due| due.saturating_sub(unix_ms(now)));
        let left = Duration::from_millis(left);
        by_rung.entry(next_rung(rungs, left).unwrap_or(left)).or_default().push(entry.clone());
    }
    by_rung
        .into_iter()
        .map(|(rung, handlers)| Copy::Wait {
            handlers,
            stay: Stay { delay: delay_name(rung), time: rung },
            waits: 0,
            reason: NOT_DUE,
        })
        .collect()
}

/// Why a copy of a *retry after* waits on.
pub(super) const NOT_DUE: &str = "not_due";

/// What happens to an event, or to some of its handlers, that this build does not know: another
/// wait, or the dead-letter queue when it has waited often enough.
pub(super) fn wait(group: &GroupSpec, gone: &[HandlerAttempt], waits: u32) -> Vec<Copy> {
    let wait = group.settings.unknown_wait;
    let reason = if gone.is_empty() { names::REASON_UNKNOWN_EVENT } else { names::REASON_HANDLER_GONE };
    if waits < wait.times {
        let stay = Stay { delay: delay_name(wait.delay), time: wait.delay };
        return vec![Copy::Wait { handlers: gone.to_vec(), stay, waits: waits + 1, reason }];
    }
    if gone.is_empty() {
        return vec![dead_letter_unknown(group)];
    }
    gone.iter()
        .map(|entry| {
            Copy::DeadLetter(Failed {
                handler: Some(entry.handler.clone()),
                attempt: entry.attempt,
                reason,
                error_type: "HandlerGone",
                text: format!(
                    "no replica of group {:?} has had the handler {:?}, in {} waits of {:?}",
                    group.name.as_str(),
                    entry.handler,
                    wait.times,
                    wait.delay
                ),
            })
        })
        .collect()
}

/// The dead letter of an event that nobody in the group knows.
pub(super) fn dead_letter_unknown(group: &GroupSpec) -> Copy {
    Copy::DeadLetter(Failed {
        handler: None,
        attempt: 0,
        reason: names::REASON_UNKNOWN_EVENT,
        error_type: "UnknownEvent",
        text: format!("no handler of group {:?} takes this event", group.name.as_str()),
    })
}

/// A time of day as headers carry it: milliseconds since the Unix epoch.
pub(super) fn unix_ms(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}
