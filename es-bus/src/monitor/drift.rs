//! Looks time and again whether the broker is still as the program declares it, and tells what is not.
//!
//! It changes nothing: `topology::plan` decides what differs, [`Watch`] (pure) what of that is news, [`watch_drift`]
//! looks and tells. What is new has to be seen twice, a moment apart: a subscription that is being made, another
//! replica that starts, or a plan that is being applied is no drift.
//!
//! What an earlier version of the program declared, and nobody pruned, is `foreign` here, where `Bus::plan` knows it
//! from the record of the `program`. A record is read by taking its message: all replicas would wait for one another at
//! each look, and whoever applies a plan for them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde::Serialize;
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};

use super::{Monitor, stats::as_text};
use crate::{
    error::Error,
    model::Queue,
    retry::spread,
    telemetry,
    topology::{
        Provision,
        plan::{Deviation, DriftKind, Eyes, PlanOptions, decide, deviations, shared_names},
    },
    transport::LinkState,
};

/// After how long what is new is looked at again, before it is told.
const CONFIRM_AFTER: Duration = Duration::from_secs(5);

/// How long a look may take. Each question has a time of its own, and a broker has a few.
const LOOK_WITHIN: Duration = Duration::from_secs(60);

/// By which part of itself a pause varies, either way: replicas that were started together would else ask the broker
/// together for ever, and what it has to list for each is all there is.
const JITTER: f64 = 0.1;

/// How many things are named in one line of a log.
const NAMED: usize = 20;

/// How the broker differs from what the program declares, as it was last seen (setting `drift_interval`).
///
/// A broker that drifted leaves the health of the bus as it is: what is consumed is consumed, and a probe that
/// failed for it would take all replicas away at once, for what none of their restarts may mend. What of it stops
/// the work is a problem of its own: a queue that is gone, say.
///
/// # Examples
///
/// ```standalone_crate
/// # use es_bus::{Bus, Drift};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> es_bus::Result<()> {
/// let bus = Bus::builder().without_environment().url("memory://").publish_only().set("drift_interval", "5m").build()?;
/// let monitor = bus.monitor();
/// let running = bus.start().await?;
///
/// tokio::time::sleep(std::time::Duration::from_secs(1)).await;
/// let drift: Drift = monitor.drift().expect("the broker was looked at");
/// assert!(!drift.has_drifted(), "{:?}", drift.findings);
/// running.stop().await
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Drift {
    /// How many exchanges, queues, policies and bindings are declared and not there.
    pub missing: u64,
    /// How many exchanges and queues are there with other settings, or with the policy of somebody else.
    pub conflict: u64,
    /// How many policies are there with other settings than the program declares (`limits_in`).
    pub changed: u64,
    /// How many bindings are there that were `retired`, or unbound while the bus runs, and policies of queues without
    /// limits.
    pub retired: u64,
    /// How many bindings of the program's queues are there that nobody declares.
    pub foreign: u64,
    /// Each of these in words.
    pub findings: Vec<String>,
    /// What could not be seen, and why: a sentence each.
    pub unseen: Vec<String>,
    /// When the broker was last seen; `None` when it was not yet.
    #[serde(serialize_with = "as_text")]
    pub seen_at: Option<OffsetDateTime>,
    /// Why it could not be looked at since then.
    pub failure: Option<String>,
}

impl Drift {
    /// Whether anything was found when the broker was last seen.
    #[must_use]
    pub fn has_drifted(&self) -> bool {
        !self.findings.is_empty()
    }
}

/// What a look at the broker came to.
#[derive(Debug)]
enum Look {
    /// It was seen.
    Saw { found: BTreeSet<Deviation>, unseen: Vec<String> },
    /// What the program declares changed meanwhile.
    Moved,
    /// There is no connection, or the topology is not applied yet.
    Away,
    /// It was there, and could not be looked at.
    Failed(String),
}

/// What follows from a look.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Look again soon: nothing is known for sure.
    Unsure,
    /// It is as it was told before.
    Same,
    /// Other things differ than before.
    Drifted,
    /// Nothing differs any more.
    Mended,
    /// Nothing can be said.
    Unknown,
    /// Nothing can be said, and that is news.
    Blind,
}

/// What was seen so far, and told.
#[derive(Debug, Default)]
struct Watch {
    /// What was seen, and told.
    told: BTreeSet<Deviation>,
    /// What the last look saw, when there was something new in it.
    suspected: Option<BTreeSet<Deviation>>,
    /// Whether it was told that the broker cannot be looked at.
    is_blind: bool,
}

impl Watch {
    fn decide(&mut self, look: &Look) -> Verdict {
        let suspected = self.suspected.take();
        let found = match look {
            Look::Saw { found, .. } => found,
            Look::Moved => return Verdict::Unsure,
            Look::Away => return Verdict::Unknown,
            Look::Failed(_) if self.is_blind => return Verdict::Unknown,
            Look::Failed(_) => {
                self.is_blind = true;
                return Verdict::Blind;
            }
        };
        self.is_blind = false;
        let Some(suspected) = suspected else {
            if !found.is_subset(&self.told) {
                self.suspected = Some(found.clone());
                return Verdict::Unsure;
            }
            return self.settle(found.clone());
        };
        // What came in between waits for its own second look.
        let sure = found.iter().filter(|it| suspected.contains(it) || self.told.contains(it));
        self.settle(sure.cloned().collect())
    }

    fn settle(&mut self, sure: BTreeSet<Deviation>) -> Verdict {
        let before = std::mem::replace(&mut self.told, sure);
        match (before == self.told, self.told.is_empty()) {
            (true, _) => Verdict::Same,
            (false, true) => Verdict::Mended,
            (false, false) => Verdict::Drifted,
        }
    }

    fn count(&self, kind: DriftKind) -> u64 {
        self.told.iter().filter(|it| it.kind == kind).count() as u64
    }

    /// What differs, in one line: how much of each kind, what it is, and what would do.
    fn line(&self) -> String {
        let kinds: Vec<DriftKind> = DriftKind::ALL.into_iter().filter(|kind| self.count(*kind) > 0).collect();
        let counts: Vec<String> =
            kinds.iter().map(|kind| format!("{} {}", self.count(*kind), kind.as_str())).collect();
        let mut named: Vec<String> = self.told.iter().take(NAMED).map(|it| it.text.clone()).collect();
        if let Some(more) = self.told.len().checked_sub(NAMED).filter(|more| *more > 0) {
            named.push(format!("and {more} more, which `Bus::plan` tells"));
        }
        let remedies: Vec<&str> = kinds.iter().map(|kind| kind.remedy()).collect();
        format!("({}): {}. {}", counts.join(", "), named.join("; "), remedies.join("; "))
    }
}

/// Looks at the broker, time and again, and tells of what is not as it was declared.
///
/// Each pause varies a little, as `chance` says, which is uniform in 0..1.
///
/// Dropped at any await it leaves nothing behind: it only looks.
pub(crate) async fn watch_drift(
    monitor: Monitor,
    provision: Arc<Provision>,
    mut eyes: Eyes,
    every: Duration,
    chance: impl Fn() -> f64,
) {
    measure(None);
    let mut watch = Watch::default();
    let mut is_limit_told = false;
    loop {
        let look = look(&provision, &mut eyes).await;
        let verdict = watch.decide(&look);
        if let Look::Saw { unseen, .. } = &look
            && !unseen.is_empty()
            && !std::mem::replace(&mut is_limit_told, true)
        {
            tracing::warn!(
                "the check for drift does not see all of the broker (`drift_interval`): {}",
                unseen.join("; ")
            );
        }
        match &verdict {
            Verdict::Drifted => {
                tracing::warn!("the broker is not as this program declares it {}", watch.line());
            }
            Verdict::Mended => tracing::info!("the broker is as this program declares it again"),
            Verdict::Unsure | Verdict::Same | Verdict::Unknown | Verdict::Blind => {}
        }
        if let (Verdict::Blind, Look::Failed(reason)) = (&verdict, &look) {
            tracing::warn!("cannot see whether the broker is as this program declares it: {reason}");
        }
        let is_sure = matches!(verdict, Verdict::Same | Verdict::Drifted | Verdict::Mended);
        match look {
            Look::Saw { unseen, .. } if is_sure => {
                measure(Some(&watch));
                let seen_at = Some(monitor.shared.clock.now());
                monitor.drifts(Drift {
                    missing: watch.count(DriftKind::Missing),
                    conflict: watch.count(DriftKind::Conflict),
                    changed: watch.count(DriftKind::Changed),
                    retired: watch.count(DriftKind::Retired),
                    foreign: watch.count(DriftKind::Foreign),
                    findings: watch.told.iter().map(|it| it.text.clone()).collect(),
                    unseen,
                    seen_at,
                    failure: None,
                });
            }
            Look::Saw { .. } | Look::Moved => {}
            Look::Away => lose_sight(&monitor, "the broker is not there".to_owned()),
            Look::Failed(reason) => lose_sight(&monitor, reason),
        }
        sleep(pause(&verdict, every, chance())).await;
    }
}

/// How long until the next look. Pure.
fn pause(verdict: &Verdict, every: Duration, chance: f64) -> Duration {
    let pause = if *verdict == Verdict::Unsure { every.min(CONFIRM_AFTER) } else { every };
    spread(pause, JITTER, chance)
}

/// What was found stands, as what was seen last.
fn lose_sight(monitor: &Monitor, reason: String) {
    measure(None);
    let last = monitor.drift().unwrap_or_default();
    monitor.drifts(Drift { failure: Some(reason), ..last });
}

fn measure(watch: Option<&Watch>) {
    for kind in DriftKind::ALL {
        telemetry::drift(kind.as_str(), watch.map(|watch| watch.count(kind)));
    }
}

async fn look(provision: &Provision, eyes: &mut Eyes) -> Look {
    let is_there =
        || provision.is_applied() && matches!(provision.transport().link().borrow().state, LinkState::Up);
    if !is_there() {
        return Look::Away;
    }
    let wanted = provision.topology();
    let (exchanges, queues) = shared_names(&[&wanted]);
    let policies = wanted.queues().any(Queue::has_policy);
    let seen =
        timeout(LOOK_WITHIN, eyes.survey(&**provision.transport(), &exchanges, &queues, policies)).await;
    if !is_there() {
        return Look::Away;
    }
    let observed = match seen {
        Ok(Ok(observed)) => observed,
        Ok(Err(error)) => return Look::Failed(Error::from(error).to_string()),
        Err(_elapsed) => return Look::Failed(format!("the broker did not answer within {LOOK_WITHIN:?}")),
    };
    // Somebody subscribed, or no longer does.
    if !Arc::ptr_eq(&wanted, &provision.topology()) {
        return Look::Moved;
    }
    let plan = decide(&wanted, &observed, Some(&provision.left()), &PlanOptions::new());
    Look::Saw { found: deviations(&plan), unseen: plan.unseen }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saw(texts: &[&str]) -> Look {
        let of = |text: &&str| Deviation { kind: DriftKind::Missing, text: (*text).to_owned() };
        Look::Saw { found: texts.iter().map(of).collect(), unseen: Vec::new() }
    }

    fn told(watch: &Watch) -> Vec<&str> {
        watch.told.iter().map(|it| &*it.text).collect()
    }

    #[test]
    fn tells_what_two_looks_saw_once_and_again_when_it_changes() {
        let mut watch = Watch::default();
        let failed = || Look::Failed("503".to_owned());
        for (step, (look, verdict, then)) in [
            (saw(&[]), Verdict::Same, vec![]),
            (saw(&["a"]), Verdict::Unsure, vec![]),
            (saw(&[]), Verdict::Same, vec![]),
            (saw(&["a", "b"]), Verdict::Unsure, vec![]),
            // What came meanwhile is not told yet, and what went is not told at all.
            (saw(&["b", "c"]), Verdict::Drifted, vec!["b"]),
            (saw(&["b", "c"]), Verdict::Unsure, vec!["b"]),
            (saw(&["b", "c"]), Verdict::Drifted, vec!["b", "c"]),
            (saw(&["b", "c"]), Verdict::Same, vec!["b", "c"]),
            // What is not seen is not gone.
            (Look::Away, Verdict::Unknown, vec!["b", "c"]),
            (failed(), Verdict::Blind, vec!["b", "c"]),
            (failed(), Verdict::Unknown, vec!["b", "c"]),
            (Look::Moved, Verdict::Unsure, vec!["b", "c"]),
            (saw(&["b", "c"]), Verdict::Same, vec!["b", "c"]),
            (failed(), Verdict::Blind, vec!["b", "c"]),
            // Less is known at once.
            (saw(&["c"]), Verdict::Drifted, vec!["c"]),
            (saw(&["c", "d"]), Verdict::Unsure, vec!["c"]),
            (Look::Away, Verdict::Unknown, vec!["c"]),
            // Seen twice, and not one after the other.
            (saw(&["c", "d"]), Verdict::Unsure, vec!["c"]),
            (saw(&["d"]), Verdict::Drifted, vec!["d"]),
            (saw(&[]), Verdict::Mended, vec![]),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!((watch.decide(&look), told(&watch)), (verdict, then), "step {step}: {look:?}");
        }
    }

    #[test]
    fn replicas_that_start_together_do_not_look_together() {
        let minute = Duration::from_secs(60);

        let pauses = [0.0, 0.5, 1.0].map(|chance| pause(&Verdict::Same, minute, chance).as_secs());
        let confirmations = [0.0, 1.0].map(|chance| pause(&Verdict::Unsure, minute, chance).as_millis());

        assert_eq!(pauses, [54, 60, 66]);
        assert_eq!(confirmations, [4500, 5500]);
    }

    #[test]
    fn says_how_much_what_and_what_would_do_and_does_not_flood_the_log() {
        let mut watch = Watch::default();
        for number in 0..NAMED + 2 {
            let text = format!("queue \"q{number:02}\" is missing");
            watch.told.insert(Deviation { kind: DriftKind::Missing, text });
        }
        let line = watch.line();
        assert!(line.starts_with("(22 missing): queue \"q00\" is missing; "), "{line}");
        assert!(line.contains("\"q19\"") && !line.contains("\"q20\""), "{line}");
        assert!(line.contains("; and 2 more, which `Bus::plan` tells. `Bus::apply` makes"), "{line}");
        assert!(!line.contains("nobody declares"), "a remedy for nothing: {line}");
    }
}
