//! A topology in lanes: each work queue with what leads to it, where its failed messages wait, and where they end.
//!
//! In comes a [`Topology`], out go [`Lane`]s for those who draw it. What belongs to a work queue is known by its name.

use std::collections::HashSet;

use super::{Binding, Exchange, Queue, Topology};
use crate::{exchange::ExchangeKind, name::QueueName};

/// A queue of a group, and what stands beside it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lane<'a> {
    /// The queue that is consumed.
    pub(super) queue: &'a Queue,
    /// What brings messages to it, but for those that come back.
    pub(super) bindings: Vec<&'a Binding>,
    /// The headers exchange that failed messages are published to.
    pub(super) retry: Option<&'a Exchange>,
    /// The queues in which they wait, each with its delay as it is written, the shortest first.
    pub(super) waits: Vec<(&'a str, &'a Queue)>,
    /// The queue of what may have ended a process.
    pub(super) suspects: Option<&'a Queue>,
    /// Where dead letters go.
    pub(super) end: Option<End<'a>>,
}

/// Where the dead letters of a queue go.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct End<'a> {
    /// The dead-letter exchange; empty for the default exchange.
    pub(super) exchange: &'a str,
    /// The key that they are published with; their own when `None`.
    pub(super) key: Option<&'a str>,
    /// The queue that they end in, when this topology holds it.
    pub(super) queue: Option<&'a Queue>,
}

/// The lanes of a topology, by the names of their queues.
pub(super) fn lanes(topology: &Topology) -> Vec<Lane<'_>> {
    let mut all: Vec<Lane<'_>> = topology.queues().map(|queue| lane(topology, queue)).collect();
    let beside: HashSet<&QueueName> = (all.iter())
        .flat_map(|lane| lane.waits.iter().map(|(_, queue)| *queue).chain(lane.suspects))
        .map(|queue| &queue.name)
        .collect();
    // Before the ends are looked at: what waits ends in the queue that it came from.
    all.retain(|lane| !beside.contains(&lane.queue.name));
    let ends: HashSet<&QueueName> =
        all.iter().filter_map(|lane| Some(&lane.end.as_ref()?.queue?.name)).collect();
    all.retain(|lane| !ends.contains(&lane.queue.name));
    all
}

fn lane<'a>(topology: &'a Topology, queue: &'a Queue) -> Lane<'a> {
    let name = queue.name.as_str();
    let beside = |suffix: &str| topology.exchange(&format!("{name}{suffix}"));
    let (retry, entry) = (beside(RETRY), beside(ENTRY));
    let delay_of =
        |it: &'a Queue| it.name.as_str().strip_prefix(name)?.strip_prefix(RETRY)?.strip_prefix('.');
    let mut waits: Vec<(&str, &Queue)> =
        topology.queues().filter_map(|it| Some((delay_of(it).filter(|_| retry.is_some())?, it))).collect();
    waits.sort_by_key(|(delay, _)| milliseconds(delay));
    Lane {
        queue,
        bindings: topology
            .bindings()
            .filter(|it| it.queue == queue.name && entry.is_none_or(|entry| entry.name != it.source))
            .collect(),
        retry,
        waits,
        suspects: topology.queue(&format!("{name}{SUSPECTS}")).filter(|_| retry.is_some()),
        end: end(topology, queue),
    }
}

fn end<'a>(topology: &'a Topology, queue: &'a Queue) -> Option<End<'a>> {
    let dead_letter = queue.dead_letter.as_ref()?;
    let (exchange, key) = (dead_letter.exchange.as_str(), dead_letter.routing_key.as_deref());
    let ends_in = match exchange {
        // Of the default exchange the key is the name of a queue.
        "" => key.and_then(|key| topology.queue(key)),
        _ => {
            let kind = topology.exchange(exchange).map_or(ExchangeKind::Direct, |exchange| exchange.kind);
            let takes = |it: &&Binding| {
                it.source.as_str() == exchange && key.is_none_or(|key| kind.delivers(&it.key, key))
            };
            topology.bindings().find(takes).and_then(|it| topology.queue(it.queue.as_str()))
        }
    };
    Some(End { exchange, key, queue: ends_in })
}

/// For the order alone: what is no delay stands last.
fn milliseconds(delay: &str) -> u64 {
    let (number, unit) = match delay.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (delay.trim_end_matches('s'), 1000),
    };
    number.parse::<u64>().map_or(u64::MAX, |number| number.saturating_mul(unit))
}

/// What follows the name of a queue in that of the exchange by which failed messages go to where they wait.
pub(super) const RETRY: &str = ".retry";
/// In that of the exchange by which they come back.
pub(super) const ENTRY: &str = ".in";
/// In that of the queue of what may have ended a process.
pub(super) const SUSPECTS: &str = ".suspects";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{
        build,
        fixtures::{PLACED, exchanges, handler, named_with},
    };

    #[test]
    fn a_group_is_one_lane_with_all_that_belongs_to_it() {
        let group = named_with("audit", vec![handler("record", &["Order.*"], Some(&[PLACED]))], |_| ());
        let topology = build(&[group], &[], &exchanges()).unwrap();

        let lanes = lanes(&topology);

        let [lane] = &*lanes else { panic!("{lanes:#?}") };
        assert_eq!(lane.queue.name.as_str(), "events.audit");
        assert_eq!(lane.bindings.iter().map(|it| &*it.key).collect::<Vec<_>>(), ["Order.*"]);
        assert_eq!(lane.retry.map(|it| it.name.as_str()), Some("events.audit.retry"));
        let delays: Vec<_> = lane.waits.iter().map(|(delay, _)| *delay).collect();
        assert_eq!(delays, ["1s", "2s", "4s", "30s", "300s"]);
        assert_eq!(lane.suspects.map(|it| it.name.as_str()), Some("events.audit.suspects"));
        let end = lane.end.as_ref().unwrap();
        assert_eq!((end.exchange, end.key), ("events_dlq", Some("events.audit")));
        assert_eq!(end.queue.map(|it| it.name.as_str()), Some("events.audit.dlq"));
    }

    #[test]
    fn a_queue_that_several_groups_end_in_has_no_lane_of_its_own() {
        let named = |name| {
            named_with(name, vec![handler("h", &["#"], None)], |settings| {
                settings.dlq = "graveyard".parse().unwrap();
                settings.dlq_key = Some("graveyard".parse().unwrap());
            })
        };
        let topology = build(&[named("one"), named("two")], &[], &exchanges()).unwrap();

        let lanes = lanes(&topology);

        let ends = |lane: &Lane<'_>| lane.end.as_ref()?.queue.map(|queue| queue.name.to_string());
        let names: Vec<_> = lanes.iter().map(|lane| (lane.queue.name.as_str(), ends(lane))).collect();
        let graveyard = Some("graveyard".to_owned());
        assert_eq!(names, [("events.one", graveyard.clone()), ("events.two", graveyard)]);
    }
}
