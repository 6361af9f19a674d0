//! How many duplicates the faults of a run explain, in a group.
//!
//! A run that is repeated was in hand when a fault came: its acknowledgement, or the copy that waits for
//! its next attempt, had not come to the broker. So each fault explains no more runs than the group was
//! at about that time, and no more deliveries than those it is done to may have in hand. A publisher
//! besides sends again what was not confirmed.

use std::time::Duration;

use crate::{
    cast::PUBLISH_TIMEOUT,
    faults::Past,
    ledger::Entry,
    program::{PREFETCH, PUBLISHING},
    schedule::{Cast, Fault},
};

/// For how long before a fault a run may be on its way to the broker, and for how long after it may be
/// lost for its sake: an acknowledgement waits 5 ms, and up to 0.4 s in a network that delays; a copy
/// waits up to 0.8 s; what was frozen finds its connections closed when it goes on.
const REACH_MS: u64 = 1000;

/// The most duplicates of a group; `kinds` are the groups, in the order in which faults count them.
pub(crate) fn explained(
    group: &str,
    kinds: &[String],
    cast: Cast,
    past: &[Past],
    entries: &[(u64, Entry)],
) -> u64 {
    let mut runs: Vec<u64> = entries
        .iter()
        .filter_map(|(at, entry)| match entry {
            Entry::Done { group: of, .. } | Entry::Failed { group: of, .. } if of == group => Some(*at),
            _ => None,
        })
        .collect();
    runs.sort_unstable();
    past.iter()
        .map(|past| {
            let hit = hit(past.fault, group, kinds, cast);
            let until = past.until_ms + REACH_MS;
            let from = past.until_ms.saturating_sub(millis(past.took) + REACH_MS);
            let at_it = runs.partition_point(|at| *at <= until) - runs.partition_point(|at| *at < from);
            let in_hand = hit.workers as u64 * PREFETCH;
            in_hand.min(at_it as u64) + hit.publishers as u64 * sent_again(past.took)
        })
        .sum()
}

/// Whose connections a fault may end.
#[derive(Debug, PartialEq)]
struct Hit {
    workers: usize,
    publishers: usize,
}

fn hit(fault: Fault, group: &str, kinds: &[String], cast: Cast) -> Hit {
    let Cast { workers, publishers, .. } = cast;
    match fault {
        Fault::BrokerKilled
        | Fault::BrokerRestarted
        | Fault::BrokerFrozen(_)
        | Fault::MemoryAlarm(_)
        | Fault::ConnectionsClosed
        | Fault::NetworkCut
        | Fault::NetworkRefuses(_)
        | Fault::NetworkSwallows(_)
        | Fault::NetworkMute(_)
        | Fault::NetworkHolds(_)
        | Fault::NetworkDelayed { .. } => Hit { workers, publishers },
        // What one queue refuses is sent again to all of them.
        Fault::QueueCrashed(which) => {
            Hit { workers: if kinds[which] == group { workers } else { 0 }, publishers }
        }
        Fault::WorkersRolled => Hit { workers, publishers: 0 },
        Fault::WorkerKilled(_) | Fault::WorkerFrozen(..) => Hit { workers: 1, publishers: 0 },
        Fault::PublisherFrozen(..) => Hit { workers: 0, publishers: 1 },
        // Its successor has ids of its own.
        Fault::PublisherKilled(_) => Hit { workers: 0, publishers: 0 },
    }
}

/// What one publisher sends again for a fault: all that it is at, once for each time that nobody answers.
fn sent_again(took: Duration) -> u64 {
    let times = 1 + took.as_secs() / PUBLISH_TIMEOUT.as_secs();
    times * u64::from(PUBLISHING)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAST: Cast = Cast { workers: 3, publishers: 2, kinds: 2 };
    const SECOND: Duration = Duration::from_secs(1);

    /// With runs of the classic group from the tenth second on: so many, a millisecond apart.
    fn of(fault: Fault, took: Duration, until_ms: u64, runs: u64) -> u64 {
        let kinds = ["quorum", "classic"].map(str::to_owned);
        let entries: Vec<(u64, Entry)> = (0..runs)
            .map(|number| {
                let (group, id) = ("classic".to_owned(), number.to_string());
                let is_done = number % 2 == 0;
                let entry = if is_done { Entry::Done { group, id } } else { Entry::Failed { group, id } };
                (10_000 + number, entry)
            })
            .collect();
        explained("classic", &kinds, CAST, &[Past { fault, took, until_ms }], &entries)
    }

    #[test]
    fn a_fault_explains_what_those_have_in_hand_that_it_is_done_to() {
        for (fault, most) in [
            (Fault::NetworkCut, 3 * 50 + 2 * 4),
            (Fault::QueueCrashed(1), 3 * 50 + 2 * 4),
            (Fault::QueueCrashed(0), 2 * 4),
            (Fault::WorkersRolled, 3 * 50),
            (Fault::WorkerKilled(2), 50),
            (Fault::PublisherFrozen(0, SECOND), 4),
            (Fault::PublisherKilled(0), 0),
        ] {
            assert_eq!(of(fault, Duration::ZERO, 10_500, 1000), most, "{fault:?}");
        }
    }

    #[test]
    fn nothing_was_in_hand_where_nothing_went_on() {
        let killed = |until_ms| of(Fault::WorkerKilled(0), SECOND, until_ms, 20);

        assert_eq!(killed(8_999), 0);
        assert_eq!(killed(9_000), 1);
        assert_eq!(killed(9_009), 10);
        assert_eq!(killed(10_000), 20);
        // It began a second before it ended.
        assert_eq!(killed(12_000), 20);
        assert_eq!(killed(12_019), 1);
        assert_eq!(killed(12_020), 0);
    }

    #[test]
    fn a_publisher_sends_again_whenever_nobody_has_answered() {
        let frozen = |took| of(Fault::PublisherFrozen(0, took), took, 20_000, 0);

        assert_eq!([SECOND, 5 * SECOND, 11 * SECOND].map(frozen), [4, 8, 12]);
    }

    #[test]
    fn a_run_without_faults_explains_none() {
        let entries = [(1, Entry::Done { group: "quorum".to_owned(), id: "a".to_owned() })];

        assert_eq!(explained("quorum", &["quorum".to_owned()], CAST, &[], &entries), 0);
    }
}
