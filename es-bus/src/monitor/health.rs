//! Facts → how the bus is. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Drift, Looked, Stats};
use crate::transport::{Link, LinkState};

/// How a bus is, and why.
///
/// The names are those of eventsource-py's health check, as far as it has them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// All in one word.
    pub status: HealthStatus,
    /// Whether nothing at all is wrong.
    pub healthy: bool,
    /// Whether starting the process anew would not help: for a liveness probe.
    pub live: bool,
    /// Whether the bus does its work: for a readiness probe.
    pub ready: bool,
    /// Everything that is wrong, parted by `; `.
    pub error: Option<String>,
    /// How the connections are.
    pub connection_status: ConnectionStatus,
    /// `open` when every group has a consumer, `closed` when one has none, `not_initialized` before
    /// the workers are started.
    pub channel_status: &'static str,
    /// `accessible`, `missing`, `error: …`, or `not_checked`; of several groups the worst.
    pub queue_status: String,
    /// As `queue_status`; `disabled` where no group has a dead-letter queue.
    pub dlq_status: String,
    /// What is wrong, part by part.
    pub problems: Vec<Problem>,
    /// The parts.
    pub details: Details,
}

/// How a bus is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthStatus {
    /// Nothing is wrong.
    Healthy,
    /// It works, with less than it should have.
    Degraded,
    /// It does not do its work.
    Unhealthy,
}

/// How the connections to the broker are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionStatus {
    /// There.
    Connected,
    /// Not there; they are being made.
    Disconnected,
    /// Not there, and they will not be made again.
    Closed,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// With what.
    pub part: Part,
    /// Of which group, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What is wrong.
    pub reason: String,
}

/// What something can be wrong with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// The bus itself: it starts, stops, or has ended.
    Bus,
    /// The connections to the broker.
    Connection,
    /// The topology, which was not declared on this connection yet.
    Topology,
    /// The consumer of a group.
    Channel,
    /// What the queue of a group delivers.
    Delivery,
    /// The queue of a group.
    Queue,
    /// The dead-letter queue of a group.
    Dlq,
    /// The retry queues of a group.
    Retry,
    /// What is published, and the broker refuses.
    Publishing,
    /// The broker, which takes no publishes.
    Broker,
}

/// The parts that were looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Details {
    /// The exchange of events that name none.
    pub exchange: String,
    /// Whether every group has a consumer; `false` where no group is consumed, or one is paused.
    pub consuming: bool,
    /// The groups that are consumed here, by name.
    pub groups: BTreeMap<String, GroupHealth>,
    /// The statistics.
    pub stats: Stats,
    /// How the broker differs from what the program declares, where that is looked at (setting `drift_interval`). No
    /// problem by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// How a group is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GroupHealth {
    /// Its queue.
    pub queue: String,
    /// Whether it has a consumer.
    pub consuming: bool,
    /// Whether it is meant to have none: it is paused, or nobody subscribes to it any more.
    pub idle: bool,
    /// `accessible`, `missing`, `error: …` or `not_checked`.
    pub queue_status: String,
    /// Messages that are ready in its queue, when the broker was asked.
    pub message_count: Option<u64>,
    /// Consumers of its queue, those of other processes included, when the broker was asked.
    pub consumer_count: Option<u64>,
    /// Whether it has a dead-letter queue.
    pub dlq_enabled: bool,
    /// Its dead-letter queue.
    pub dlq_queue: Option<String>,
    /// As `queue_status`, or `disabled`.
    pub dlq_status: String,
    /// Messages in its dead-letter queue, when the broker was asked.
    pub dlq_message_count: Option<u64>,
}

/// How far the bus is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    Starting,
    Running,
    Stopping,
    Ended(Option<String>),
}

/// The connections.
#[derive(Clone, Debug)]
pub(super) struct LinkFacts {
    status: ConnectionStatus,
    reason: Option<String>,
    is_fatal: bool,
    blocked: Option<String>,
}

impl LinkFacts {
    pub(super) fn none() -> Self {
        let reason = Some("not connected yet".to_owned());
        Self { status: ConnectionStatus::Disconnected, reason, is_fatal: false, blocked: None }
    }

    pub(super) fn of(link: &Link) -> Self {
        let (status, reason, is_fatal) = match &link.state {
            LinkState::Up => (ConnectionStatus::Connected, None, false),
            LinkState::Connecting => (ConnectionStatus::Disconnected, Some("connecting".to_owned()), false),
            LinkState::Backoff { reason, .. } => {
                (ConnectionStatus::Disconnected, Some(format!("no connection: {reason}")), false)
            }
            LinkState::Fatal(error) => (ConnectionStatus::Closed, Some(error.to_string()), true),
            LinkState::Closed => (ConnectionStatus::Closed, Some("closed by this program".to_owned()), false),
        };
        Self { status, reason, is_fatal, blocked: link.blocked.clone() }
    }

    pub(super) fn is_up(&self) -> bool {
        self.status == ConnectionStatus::Connected
    }
}

/// A group.
pub(super) struct GroupFacts {
    pub(super) group: String,
    pub(super) queue: String,
    pub(super) dlq: Option<String>,
    pub(super) is_consuming: bool,
    /// Whether it is meant to consume nothing.
    pub(super) is_idle: bool,
    /// Why its queue does not deliver as it should.
    pub(super) trouble: Option<String>,
    /// Events whose copies the broker does not take, how many and why: for a retry, for the dead letters.
    pub(super) held: [Option<(u64, String)>; 2],
    /// What the broker said; `None` when it was not asked.
    pub(super) looked: Option<Looked>,
}

/// All that health is made of.
pub(super) struct Facts {
    pub(super) phase: Phase,
    pub(super) link: LinkFacts,
    pub(super) is_provisioned: bool,
    /// Why the broker, asked about the queues, said nothing.
    pub(super) no_answer: Option<String>,
    /// Why publishes are refused.
    pub(super) refused: Option<String>,
    pub(super) groups: Vec<GroupFacts>,
    pub(super) exchange: String,
    pub(super) stats: Stats,
    pub(super) drift: Option<Drift>,
}

pub(super) fn assess(facts: Facts) -> Health {
    let Facts { phase, link, is_provisioned, no_answer, refused, groups, exchange, stats, drift } = facts;
    let mut problems = Problems(Vec::new());
    match &phase {
        Phase::Running => {}
        Phase::Starting => problems.add(Part::Bus, None, "the bus is starting"),
        Phase::Stopping => problems.add(Part::Bus, None, "the bus is stopping"),
        Phase::Ended(None) => problems.add(Part::Bus, None, "the bus has stopped"),
        Phase::Ended(Some(reason)) => problems.add(Part::Bus, None, format!("the bus has ended: {reason}")),
    }
    let is_ended = matches!(phase, Phase::Ended(_));
    if !is_ended {
        if let Some(reason) = &link.reason {
            problems.add(Part::Connection, None, reason.clone());
        } else if !is_provisioned {
            problems.add(Part::Topology, None, "the topology is not declared yet");
        }
        if let Some(reason) = &link.blocked {
            problems.add(Part::Broker, None, format!("the broker takes no publishes: {reason}"));
        }
        // Otherwise it was named.
        if let (Some(reason), true, None) = (refused, link.is_up(), &link.blocked) {
            problems.add(Part::Publishing, None, format!("the last publish failed: {reason}"));
        }
        if let Some(reason) = &no_answer {
            problems.add(Part::Queue, None, reason.clone());
        }
    }
    let consuming = stats.is_consuming;
    let channel_status = match phase {
        Phase::Starting => "not_initialized",
        _ if !link.is_up() => "closed",
        _ if groups.iter().all(|group| group.is_consuming || group.is_idle) => "open",
        _ => "closed",
    };
    let unasked = no_answer.map_or_else(|| "not_checked".to_owned(), |reason| format!("error: {reason}"));
    let mut told = BTreeMap::new();
    for group in groups {
        // A connection that is not there was named, and a bus that stops consumes less and less.
        if phase == Phase::Running && link.is_up() && !group.is_consuming && !group.is_idle {
            problems.add(Part::Channel, Some(&group.group), "no consumer is there");
        }
        if let (Phase::Running, true, Some(trouble)) = (&phase, link.is_up(), &group.trouble) {
            problems.add(Part::Delivery, Some(&group.group), trouble.clone());
        }
        let [retry, dead_letter] = group.held;
        for (part, what, held) in [(Part::Retry, "retry", retry), (Part::Dlq, "dead-letter", dead_letter)] {
            // A connection that is not there was named.
            if let (Some((count, reason)), false, true) = (held, is_ended, link.is_up()) {
                let events =
                    if count == 1 { "1 event waits".to_owned() } else { format!("{count} events wait") };
                let why = format!("{events} unacknowledged, as the {what} copy is not taken: {reason}");
                problems.add(part, Some(&group.group), why);
            }
        }
        let (queue, dlq) = group.looked.map_or((None, None), |looked| (Some(looked.queue), looked.dlq));
        let (queue_status, counts) = said(&unasked, queue);
        let (dlq_status, dlq_counts) = match &group.dlq {
            None => ("disabled".to_owned(), None),
            Some(_) => said(&unasked, dlq),
        };
        for (part, name, status) in
            [(Part::Queue, Some(&group.queue), &queue_status), (Part::Dlq, group.dlq.as_ref(), &dlq_status)]
        {
            if is_bad(status) && *status != unasked {
                let name = name.map_or("", String::as_str);
                let what = match status.strip_prefix("error: ") {
                    Some(reason) => format!("queue {name:?} cannot be looked at: {reason}"),
                    None => format!("queue {name:?} is {status}"),
                };
                problems.add(part, Some(&group.group), what);
            }
        }
        let of_group = GroupHealth {
            queue: group.queue,
            consuming: group.is_consuming,
            idle: group.is_idle,
            queue_status,
            message_count: counts.map(|counts| counts.messages),
            consumer_count: counts.map(|counts| counts.consumers),
            dlq_enabled: group.dlq.is_some(),
            dlq_queue: group.dlq,
            dlq_status,
            dlq_message_count: dlq_counts.map(|counts| counts.messages),
        };
        told.insert(group.group, of_group);
    }
    let Problems(problems) = problems;
    let status = problems.iter().map(|problem| problem.part.weight()).max();
    let status = match (status, &phase) {
        (_, Phase::Stopping) => HealthStatus::Degraded,
        (status, _) => status.unwrap_or(HealthStatus::Healthy),
    };
    Health {
        status,
        healthy: status == HealthStatus::Healthy,
        live: !is_ended && !link.is_fatal,
        ready: problems
            .iter()
            .all(|problem| matches!(problem.part, Part::Dlq | Part::Retry | Part::Publishing)),
        error: (!problems.is_empty())
            .then(|| problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")),
        connection_status: if is_ended { ConnectionStatus::Closed } else { link.status },
        channel_status,
        queue_status: worst(told.values().map(|group| &group.queue_status), &unasked),
        dlq_status: worst(told.values().map(|group| &group.dlq_status), "disabled"),
        problems,
        details: Details { exchange, consuming, groups: told, stats, drift },
    }
}

type Counted = Option<crate::transport::QueueStatus>;

/// What a queue is, in a word, and how full.
fn said(unasked: &str, looked: Option<Result<Counted, String>>) -> (String, Counted) {
    match looked {
        None => (unasked.to_owned(), None),
        Some(Ok(None)) => ("missing".to_owned(), None),
        Some(Ok(Some(counts))) => ("accessible".to_owned(), Some(counts)),
        Some(Err(reason)) => (format!("error: {reason}"), None),
    }
}

fn is_bad(status: &str) -> bool {
    status == "missing" || status.starts_with("error")
}

/// Of several, the first that is bad; else the last; else what stands for none.
fn worst<'a>(statuses: impl Iterator<Item = &'a String>, none: &str) -> String {
    let mut last = None;
    for status in statuses {
        if is_bad(status) {
            return status.clone();
        }
        last = Some(status);
    }
    last.map_or_else(|| none.to_owned(), String::clone)
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, part: Part, group: Option<&str>, reason: impl Into<String>) {
        self.0.push(Problem { part, group: group.map(str::to_owned), reason: reason.into() });
    }
}

impl Part {
    /// How bad it is when something is wrong with it.
    const fn weight(self) -> HealthStatus {
        match self {
            // Events are handled; what fails waits until the broker takes copies again.
            Self::Dlq | Self::Retry | Self::Publishing | Self::Broker | Self::Delivery => {
                HealthStatus::Degraded
            }
            Self::Bus | Self::Connection | Self::Topology | Self::Channel | Self::Queue => {
                HealthStatus::Unhealthy
            }
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.group {
            Some(group) => write!(f, "group {group:?}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}
