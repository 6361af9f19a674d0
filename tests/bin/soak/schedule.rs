//! Which fault comes when: a pure function of the seed, so that a run can be repeated.
//!
//! Kinds are drawn from a bag, without putting back, until it is empty: each comes as often as the bag
//! says, in an order of chance. One target has one fault at a time; faults of different targets overlap.

use std::{fmt, time::Duration};

use crate::chance::Chance;

/// What can be done to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// `SIGKILL` to the node, and its restart.
    BrokerKilled,
    /// The node is shut down in order, and started again.
    BrokerRestarted,
    /// The node answers nothing for so long.
    BrokerFrozen(Duration),
    /// The node blocks publishers for so long.
    MemoryAlarm(Duration),
    /// The node closes every connection.
    ConnectionsClosed,
    /// The process of a queue is killed, of the kind with that place in the list: its consumers are
    /// cancelled, or told of a new leader.
    QueueCrashed(usize),
    /// Every connection ends in the middle of whatever is on its way.
    NetworkCut,
    /// Nobody listens for so long, and what was connected is cut.
    NetworkRefuses(Duration),
    /// What is sent vanishes for so long, and the connections stay open; then they are cut.
    NetworkSwallows(Duration),
    /// Only what the broker sends vanishes for so long; then the connections are cut.
    NetworkMute(Duration),
    /// Nothing arrives for so long, and then all of it does.
    NetworkHolds(Duration),
    /// Everything arrives so much later, for so long.
    NetworkDelayed {
        /// How much later.
        by: Duration,
        /// For how long.
        lasts: Duration,
    },
    /// `SIGKILL` to a worker, and its restart.
    WorkerKilled(usize),
    /// A worker does nothing for so long, and then goes on.
    WorkerFrozen(usize, Duration),
    /// Every worker in turn is told to end, and is started again when it has.
    WorkersRolled,
    /// `SIGKILL` to a publisher, and its restart.
    PublisherKilled(usize),
    /// A publisher does nothing for so long, and then goes on.
    PublisherFrozen(usize, Duration),
}

/// What a fault is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The node.
    Broker,
    /// What lies between the node and the processes.
    Network,
    /// The processes that consume.
    Workers,
    /// The processes that publish.
    Publishers,
}

impl Target {
    /// All that there are.
    pub(crate) const ALL: [Self; 4] = [Self::Broker, Self::Network, Self::Workers, Self::Publishers];
}

impl Fault {
    /// What it is done to.
    pub(crate) fn target(self) -> Target {
        match self {
            Self::BrokerKilled
            | Self::BrokerRestarted
            | Self::BrokerFrozen(_)
            | Self::MemoryAlarm(_)
            | Self::ConnectionsClosed
            | Self::QueueCrashed(_) => Target::Broker,
            Self::NetworkCut
            | Self::NetworkRefuses(_)
            | Self::NetworkSwallows(_)
            | Self::NetworkMute(_)
            | Self::NetworkHolds(_)
            | Self::NetworkDelayed { .. } => Target::Network,
            Self::WorkerKilled(_) | Self::WorkerFrozen(..) | Self::WorkersRolled => Target::Workers,
            Self::PublisherKilled(_) | Self::PublisherFrozen(..) => Target::Publishers,
        }
    }

    /// For how long its target is not to get another one. What it takes to do it is a guess: one that
    /// takes longer delays the next of its target.
    fn takes(self, cast: Cast) -> Duration {
        let second = Duration::from_secs(1);
        match self {
            Self::BrokerKilled | Self::BrokerRestarted => 8 * second,
            Self::BrokerFrozen(lasts) | Self::MemoryAlarm(lasts) => lasts + 2 * second,
            Self::ConnectionsClosed | Self::QueueCrashed(_) => 2 * second,
            Self::NetworkCut => second,
            Self::NetworkRefuses(lasts)
            | Self::NetworkSwallows(lasts)
            | Self::NetworkMute(lasts)
            | Self::NetworkHolds(lasts)
            | Self::NetworkDelayed { lasts, .. }
            | Self::WorkerFrozen(_, lasts)
            | Self::PublisherFrozen(_, lasts) => lasts + second,
            Self::WorkerKilled(_) | Self::PublisherKilled(_) => second,
            Self::WorkersRolled => u32::try_from(cast.workers).unwrap_or(u32::MAX) * 2 * second,
        }
    }

    /// Its kind, as the report counts it.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::BrokerKilled => "broker killed",
            Self::BrokerRestarted => "broker restarted",
            Self::BrokerFrozen(_) => "broker frozen",
            Self::MemoryAlarm(_) => "memory alarm",
            Self::ConnectionsClosed => "connections closed",
            Self::QueueCrashed(_) => "queue crashed",
            Self::NetworkCut => "network cut",
            Self::NetworkRefuses(_) => "network refuses",
            Self::NetworkSwallows(_) => "network swallows",
            Self::NetworkMute(_) => "network mute",
            Self::NetworkHolds(_) => "network holds",
            Self::NetworkDelayed { .. } => "network delayed",
            Self::WorkerKilled(_) => "worker killed",
            Self::WorkerFrozen(..) => "worker frozen",
            Self::WorkersRolled => "workers rolled",
            Self::PublisherKilled(_) => "publisher killed",
            Self::PublisherFrozen(..) => "publisher frozen",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::BrokerKilled
            | Self::BrokerRestarted
            | Self::ConnectionsClosed
            | Self::NetworkCut
            | Self::WorkersRolled => Ok(()),
            Self::BrokerFrozen(lasts)
            | Self::MemoryAlarm(lasts)
            | Self::NetworkRefuses(lasts)
            | Self::NetworkSwallows(lasts)
            | Self::NetworkMute(lasts)
            | Self::NetworkHolds(lasts) => write!(f, " for {lasts:?}"),
            Self::NetworkDelayed { by, lasts } => write!(f, " by {by:?} for {lasts:?}"),
            Self::QueueCrashed(which) | Self::WorkerKilled(which) | Self::PublisherKilled(which) => {
                write!(f, " ({which})")
            }
            Self::WorkerFrozen(which, lasts) | Self::PublisherFrozen(which, lasts) => {
                write!(f, " ({which}) for {lasts:?}")
            }
        }
    }
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cast {
    /// How many processes consume.
    pub(crate) workers: usize,
    /// How many processes publish.
    pub(crate) publishers: usize,
    /// How many kinds of queues there are.
    pub(crate) kinds: usize,
}

/// A fault and when it begins, counted from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
}

/// The faults of a run: one every so often, the first after the first pause, none after the end.
pub(crate) fn schedule(seed: u64, duration: Duration, every: Duration, cast: Cast) -> Vec<Planned> {
    let mut chance = Chance::new(seed);
    let mut free_at = [Duration::ZERO; Target::ALL.len()];
    let mut bag = Vec::new();
    let mut planned = Vec::new();
    let mut at = every;
    while at < duration {
        let is_free = |fault: &Fault| free_at[fault.target() as usize] <= at;
        if !bag.iter().any(is_free) {
            // What could not be drawn stays in.
            bag.extend(bag_of(&mut chance, cast));
        }
        let free: Vec<usize> = (0..bag.len()).filter(|place| is_free(&bag[*place])).collect();
        if let Some(place) = chance.pick(&free) {
            let fault = bag.swap_remove(*place);
            free_at[fault.target() as usize] = at + fault.takes(cast);
            planned.push(Planned { at, fault });
        }
        at += every;
    }
    planned
}

/// One bag: how often each kind comes among the others.
fn bag_of(chance: &mut Chance, cast: Cast) -> Vec<Fault> {
    let mut bag = vec![
        Fault::BrokerKilled,
        Fault::BrokerRestarted,
        Fault::BrokerFrozen(chance.millis(1000..6000)),
        Fault::MemoryAlarm(chance.millis(1000..4000)),
        Fault::NetworkRefuses(chance.millis(500..3000)),
        Fault::NetworkSwallows(chance.millis(500..6000)),
        Fault::NetworkMute(chance.millis(500..6000)),
        Fault::NetworkHolds(chance.millis(500..6000)),
        Fault::WorkersRolled,
    ];
    for _ in 0..2 {
        bag.push(Fault::ConnectionsClosed);
        bag.push(Fault::QueueCrashed(chance.below(cast.kinds)));
        bag.push(Fault::NetworkCut);
        bag.push(Fault::NetworkDelayed { by: chance.millis(20..400), lasts: chance.millis(500..4000) });
        bag.push(Fault::WorkerFrozen(chance.below(cast.workers), chance.millis(500..7000)));
        bag.push(Fault::PublisherKilled(chance.below(cast.publishers)));
    }
    for _ in 0..3 {
        bag.push(Fault::WorkerKilled(chance.below(cast.workers)));
    }
    bag.push(Fault::PublisherFrozen(chance.below(cast.publishers), chance.millis(500..7000)));
    bag
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const CAST: Cast = Cast { workers: 3, publishers: 2, kinds: 2 };
    const TEN_MINUTES: Duration = Duration::from_secs(600);
    const TWO_SECONDS: Duration = Duration::from_secs(2);

    fn kinds(planned: &[Planned]) -> BTreeMap<&'static str, usize> {
        let mut kinds = BTreeMap::new();
        for it in planned {
            *kinds.entry(it.fault.kind()).or_default() += 1;
        }
        kinds
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
        let one = schedule(7, TEN_MINUTES, TWO_SECONDS, CAST);

        assert_eq!(one, schedule(7, TEN_MINUTES, TWO_SECONDS, CAST));
        assert_ne!(one, schedule(8, TEN_MINUTES, TWO_SECONDS, CAST));
    }

    #[test]
    fn a_longer_run_begins_as_a_shorter_one() {
        let short = schedule(7, Duration::from_secs(30), TWO_SECONDS, CAST);
        let long = schedule(7, TEN_MINUTES, TWO_SECONDS, CAST);

        assert_eq!(short.len(), 14);
        assert_eq!(short, long[..14]);
    }

    #[test]
    fn a_fault_comes_every_two_seconds_and_each_kind_of_them() {
        let planned = schedule(7, TEN_MINUTES, TWO_SECONDS, CAST);

        assert_eq!(planned.len(), 299);
        assert!(planned.windows(2).all(|pair| pair[1].at - pair[0].at == TWO_SECONDS), "{planned:#?}");
        let kinds = kinds(&planned);
        assert_eq!(kinds.len(), 17, "{kinds:#?}");
        assert!(kinds.values().all(|count| *count >= 8), "{kinds:#?}");
    }

    #[test]
    fn a_target_has_one_fault_at_a_time() {
        for seed in 0..20 {
            let mut free_at = BTreeMap::new();
            for it in schedule(seed, TEN_MINUTES, TWO_SECONDS, CAST) {
                let target = it.fault.target() as usize;
                let free = free_at.insert(target, it.at + it.fault.takes(CAST)).unwrap_or_default();
                assert!(free <= it.at, "seed {seed}: {it:?} comes before {free:?}");
            }
        }
    }

    #[test]
    fn a_cast_of_one_has_nobody_else_hurt() {
        let alone = Cast { workers: 1, publishers: 1, kinds: 1 };

        for it in schedule(7, TEN_MINUTES, TWO_SECONDS, alone) {
            if let Fault::WorkerKilled(which)
            | Fault::WorkerFrozen(which, _)
            | Fault::PublisherKilled(which)
            | Fault::PublisherFrozen(which, _)
            | Fault::QueueCrashed(which) = it.fault
            {
                assert_eq!(which, 0);
            }
        }
    }
}
