//! Outcomes → the messages that have to be published before the delivery is acknowledged. Pure.

use std::{collections::BTreeMap, time::Duration};

use time::OffsetDateTime;

use crate::{
    outcome::{Decision, Outcome, Wait, decide},
    retry::{next_rung, spread},
    topology::{GroupSpec, delay_name},
    wire::{FailureInfo, Pending, Reason},
};

use super::dispatch::Concerned;

/// A message that has to be on the broker before the delivery is acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Copy {
    /// Comes back to the group after a delay, for some of its handlers.
    Retry {
        /// Whom it is for.
        pending: Vec<Pending>,
        /// The name of the delay, which picks the queue.
        delay: String,
        /// How long it stays there.
        expiration: Duration,
        /// What went wrong; `None` when it only waits on.
        failure: Option<FailureInfo>,
    },
    /// Comes back after a delay because nobody here knows the event, or a handler of it.
    Wait {
        /// The handlers that are gone; none when the event itself is unknown.
        pending: Vec<Pending>,
        /// The name of the delay, which picks the queue.
        delay: String,
        /// How long it stays there.
        expiration: Duration,
        /// How often it has waited, this time included.
        waits: u32,
    },
    /// Ends in the dead-letter queue.
    DeadLetter(FailureInfo),
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
        let decision = decide(&outcome, attempt, &group.handlers[handler].policy);
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
    let mut by_delay: BTreeMap<Duration, (Vec<Pending>, Duration, Option<FailureInfo>)> = BTreeMap::new();
    for run in ran {
        let spec = &group.handlers[run.handler];
        let Outcome::Failed(error) = &run.outcome else { continue };
        let failure = || {
            FailureInfo::of_handler(
                spec.def.name,
                run.attempt,
                error.kind(),
                error.type_name(),
                error.to_string(),
            )
        };
        match run.decision {
            Decision::Done { .. } => {}
            Decision::DeadLetter => copies.push(Copy::DeadLetter(failure())),
            Decision::Retry(Wait::Policy(delay)) => {
                let stay = spread(delay, spec.policy.jitter, chance);
                let (pending, ..) =
                    by_delay.entry(delay).or_insert_with(|| (Vec::new(), stay, Some(failure())));
                pending.push(Pending {
                    handler: spec.def.name.to_owned(),
                    attempt: run.attempt + 1,
                    due_ms: None,
                });
            }
            Decision::Retry(Wait::AtLeast(delay)) => match next_rung(&rungs, delay) {
                // A group without a ladder and without retries has nowhere to wait.
                None => copies.push(Copy::DeadLetter(failure())),
                Some(rung) => {
                    let (pending, stay, _) =
                        by_delay.entry(rung).or_insert_with(|| (Vec::new(), rung, Some(failure())));
                    // Never early, even when it shares the queue with a spread delay.
                    *stay = (*stay).max(rung);
                    pending.push(Pending {
                        handler: spec.def.name.to_owned(),
                        attempt: run.attempt + 1,
                        due_ms: Some(unix_ms(now + delay)),
                    });
                }
            },
        }
    }
    for entry in &concerned.later {
        let left = entry.due_ms.map_or(0, |due| due.saturating_sub(unix_ms(now)));
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        if let Some(rung) = next_rung(&rungs, left) {
            let (pending, stay, _) = by_delay.entry(rung).or_insert_with(|| (Vec::new(), rung, None));
            *stay = (*stay).max(rung);
            pending.push(entry.clone());
        }
    }
    copies.extend(by_delay.into_iter().map(|(delay, (pending, expiration, failure))| Copy::Retry {
        pending,
        delay: delay_name(delay),
        expiration,
        failure,
    }));
    if !concerned.gone.is_empty() {
        copies.extend(wait(group, &concerned.gone, waits));
    }
    copies
}

/// What happens to an event, or to some of its handlers, that this build does not know: another
/// wait, or the dead-letter queue when it has waited often enough.
pub(super) fn wait(group: &GroupSpec, gone: &[Pending], waits: u32) -> Vec<Copy> {
    let wait = group.settings.unknown_wait;
    if waits < wait.times {
        return vec![Copy::Wait {
            pending: gone.to_vec(),
            delay: delay_name(wait.delay),
            expiration: wait.delay,
            waits: waits + 1,
        }];
    }
    if gone.is_empty() {
        return vec![dead_letter_unknown(group)];
    }
    let times = wait.times;
    gone.iter()
        .map(|entry| {
            Copy::DeadLetter(FailureInfo::new(
                Some(&entry.handler),
                entry.attempt,
                Reason::HandlerGone,
                "HandlerGone",
                format!(
                    "no replica of group {:?} has the handler {:?} (waited {times} times)",
                    group.name, entry.handler
                ),
            ))
        })
        .collect()
}

/// The dead letter of an event that nobody in the group knows.
pub(super) fn dead_letter_unknown(group: &GroupSpec) -> Copy {
    Copy::DeadLetter(FailureInfo::new(
        None,
        0,
        Reason::UnknownEvent,
        "UnknownEvent",
        format!("no handler of group {:?} takes this event", group.name),
    ))
}

fn unix_ms(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}
