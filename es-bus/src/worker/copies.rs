//! Outcomes → the messages that have to be published before the delivery is acknowledged. Pure.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use time::OffsetDateTime;
use tracing::Span;

use super::dispatch::Concerned;
use crate::{
    outcome::{Decision, FailureKind, Outcome, Wait, decide},
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
    /// Is handled alone, as so many processes ended over it.
    Suspect { crashes: u32 },
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
    /// The run that failed, and how, where there was one: it is told there once the copy is on the broker.
    pub(super) run: Option<(FailureKind, Span)>,
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
    /// The run, where it failed.
    pub(super) span: Span,
}

impl Ran {
    pub(super) fn new(group: &GroupSpec, handler: usize, attempt: u32, outcome: Outcome) -> Self {
        let decision = match decide(&outcome, attempt, &group.handlers[handler].policy) {
            // A group without a ladder and without retries has nowhere to wait.
            Decision::Retry(Wait::AtLeast(_)) if !group.is_exclusive() && group.delays().is_empty() => {
                Decision::DeadLetter
            }
            decision => decision,
        };
        Self { handler, attempt, outcome, decision, span: Span::none() }
    }
}

/// Whether nothing has to be published: nearly every event ends so.
pub(super) fn is_through(ran: &[Ran], concerned: &Concerned) -> bool {
    let is_done = |run: &Ran| matches!(run.decision, Decision::Done { .. });
    ran.iter().all(is_done) && concerned.later.is_empty() && concerned.gone.is_empty()
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
            handler: Some(spec.name.as_ref().to_owned()),
            attempt: run.attempt,
            reason: error.kind().as_str(),
            error_type: error.type_name(),
            text: error.text(),
            run: Some((error.kind(), run.span.clone())),
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
                (rung, rung, Some(due_ms(now, delay)))
            }
        };
        let (handlers, longest, _) = retries.entry(delay).or_insert_with(|| (Vec::new(), stay, failed()));
        // Two that share a queue share a copy; the one that may not be early decides.
        *longest = stay.max(*longest);
        handlers.push(HandlerAttempt {
            handler: spec.name.as_ref().to_owned(),
            attempt: run.attempt + 1,
            due_ms,
        });
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
    let mut copies = Vec::new();
    for entry in later {
        let left = entry.due_ms.map_or(0, |due| due.saturating_sub(unix_ms(now)));
        match next_rung(rungs, Duration::from_millis(left)) {
            Some(rung) => by_rung.entry(rung).or_default().push(entry.clone()),
            // The group had rungs when the event was sent to wait, and has none now.
            None => copies.push(Copy::DeadLetter(Failed {
                handler: Some(entry.handler.clone()),
                attempt: entry.attempt,
                reason: NOT_DUE,
                error_type: "NowhereToWait",
                text: "it was to be tried again later, and its group has no retry queue any more".to_owned(),
                run: None,
            })),
        }
    }
    copies.extend(by_rung.into_iter().map(|(rung, handlers)| Copy::Wait {
        handlers,
        stay: Stay { delay: delay_name(rung), time: rung },
        waits: 0,
        reason: NOT_DUE,
    }));
    copies
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
                run: None,
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
        run: None,
    })
}

/// When a wait that begins now is over; never, when that is past all times.
fn due_ms(now: OffsetDateTime, wait: Duration) -> u64 {
    unix_ms(now).saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

/// A time of day as headers carry it: milliseconds since the Unix epoch.
pub(super) fn unix_ms(at: OffsetDateTime) -> u64 {
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::{
        outcome::HandlerError,
        topology::fixtures::{PLACED, group, group_with, handler},
    };

    const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn two() -> GroupSpec {
        group(vec![
            handler("one", &["Order.*"], Some(&[PLACED])),
            handler("two", &["Order.*"], Some(&[PLACED])),
        ])
    }

    fn failed(group: &GroupSpec, handler: usize, attempt: u32, error: HandlerError) -> Ran {
        Ran::new(group, handler, attempt, Outcome::Failed(error))
    }

    fn of(group: &GroupSpec, ran: &[Ran]) -> Vec<Copy> {
        copies(group, ran, &Concerned::default(), 0, NOW, 0.5)
    }

    /// Handler, attempt, due time.
    type Entry<'a> = (&'a str, u32, Option<u64>);

    fn retry(copy: &Copy) -> (Vec<Entry<'_>>, &str, Duration) {
        let Copy::Retry { handlers, stay, .. } = copy else { panic!("{copy:?} is no retry") };
        let handlers = handlers.iter().map(|it| (it.handler.as_str(), it.attempt, it.due_ms)).collect();
        (handlers, &stay.delay, stay.time)
    }

    #[test]
    fn handlers_that_wait_equally_long_share_a_copy_and_others_do_not() {
        let group = two();
        let equal = [failed(&group, 0, 1, "e".into()), failed(&group, 1, 1, "e".into())];
        let unequal = [failed(&group, 0, 0, "e".into()), failed(&group, 1, 2, "e".into())];

        let equal = of(&group, &equal);
        let unequal = of(&group, &unequal);

        assert_eq!(equal.len(), 1);
        assert_eq!(retry(&equal[0]), (vec![("one", 2, None), ("two", 2, None)], "2s", s(2)));
        assert_eq!(unequal.len(), 2);
        assert_eq!(retry(&unequal[0]), (vec![("one", 1, None)], "1s", s(1)));
        assert_eq!(retry(&unequal[1]), (vec![("two", 3, None)], "4s", s(4)));
    }

    #[test]
    fn a_handler_that_is_done_or_drops_leaves_no_copy() {
        let group = two();
        let ran =
            [Ran::new(&group, 0, 0, Outcome::Done), failed(&group, 1, 0, HandlerError::drop_event("e"))];

        assert_eq!(of(&group, &ran), []);
    }

    #[test]
    fn each_exhausted_handler_has_its_own_dead_letter() {
        let group = two();
        let ran =
            [failed(&group, 0, 3, "first".into()), failed(&group, 1, 0, HandlerError::reject("second"))];

        let copies = of(&group, &ran);

        let letters: Vec<_> = copies
            .iter()
            .map(|copy| match copy {
                Copy::DeadLetter(failed) => (failed.handler.as_deref(), failed.attempt, failed.text.as_str()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(letters, [(Some("one"), 3, "first"), (Some("two"), 0, "second")]);
    }

    #[test]
    fn retry_after_takes_the_longest_rung_that_fits_and_carries_its_due_time() {
        let group = two();
        let ran = [failed(&group, 0, 0, HandlerError::retry_after(s(400), "e"))];

        let copies = of(&group, &ran);

        let due = unix_ms(NOW + s(400));
        assert_eq!(retry(&copies[0]), (vec![("one", 1, Some(due))], "300s", s(300)));
    }

    #[test]
    fn retry_after_longer_than_there_are_times_is_no_panic() {
        let group = two();
        let ran = [failed(&group, 0, 0, HandlerError::retry_after(Duration::MAX, "e"))];

        let copies = of(&group, &ran);

        assert_eq!(retry(&copies[0]), (vec![("one", 1, Some(u64::MAX))], "300s", s(300)));
    }

    #[test]
    fn what_shares_a_queue_with_a_retry_after_is_not_early() {
        let group = two();
        let ran =
            [failed(&group, 0, 0, "e".into()), failed(&group, 1, 0, HandlerError::retry_after(s(1), "e"))];

        // The policy's delay alone would be spread to 0.9 s.
        let copies = copies(&group, &ran, &Concerned::default(), 0, NOW, 0.0);

        assert_eq!(copies.len(), 1);
        assert_eq!(retry(&copies[0]).2, s(1));
    }

    #[test]
    fn what_is_not_due_goes_on_without_a_run() {
        let group = two();
        let entry = HandlerAttempt { handler: "one".into(), attempt: 1, due_ms: Some(unix_ms(NOW + s(31))) };
        let concerned = Concerned { later: vec![entry.clone()], ..Concerned::default() };

        let copies = copies(&group, &[], &concerned, 0, NOW, 0.5);

        let [Copy::Wait { handlers, stay, .. }] = &copies[..] else { panic!("{copies:?}") };
        assert_eq!((handlers.as_slice(), stay.delay.as_str()), (&[entry][..], "30s"));
    }

    #[test]
    fn an_unknown_event_waits_as_often_as_is_said_and_is_then_dead_lettered() {
        let group = group_with(vec![], |settings| settings.unknown_wait.times = 2);

        assert!(matches!(&wait(&group, &[], 0)[..], [Copy::Wait { waits: 1, .. }]));
        assert!(matches!(&wait(&group, &[], 1)[..], [Copy::Wait { waits: 2, .. }]));
        let last = wait(&group, &[], 2);
        let [Copy::DeadLetter(failed)] = &last[..] else { panic!("{last:?}") };
        assert_eq!((failed.reason, &failed.handler), ("unknown_event", &None));
    }

    #[test]
    fn a_handler_that_is_gone_ends_in_the_dead_letter_queue_by_name() {
        let group = group_with(vec![], |settings| settings.unknown_wait.times = 1);
        let gone = [HandlerAttempt { handler: "old".into(), attempt: 2, due_ms: None }];

        assert!(matches!(&wait(&group, &gone, 0)[..], [Copy::Wait { handlers, .. }] if handlers == &gone));
        let last = wait(&group, &gone, 1);
        let [Copy::DeadLetter(failed)] = &last[..] else { panic!("{last:?}") };
        assert_eq!(
            (failed.reason, failed.handler.as_deref(), failed.attempt),
            ("handler_gone", Some("old"), 2)
        );
    }

    #[test]
    fn a_group_without_rungs_dead_letters_a_retry_after() {
        let mut spec = handler("one", &["Order.*"], Some(&[PLACED]));
        spec.policy.max = s(60);
        let group = group_with(vec![spec], |settings| {
            settings.ladder.clear();
            settings.unknown_wait.times = 0;
        });
        let mut bare = group.clone();
        bare.handlers[0].policy.retries = 0;

        let with_rungs = failed(&group, 0, 0, HandlerError::retry_after(s(9), "e"));
        let without = failed(&bare, 0, 0, HandlerError::retry_after(s(9), "e"));

        assert!(matches!(with_rungs.decision, Decision::Retry(_)));
        assert!(matches!(without.decision, Decision::DeadLetter));
    }
}
