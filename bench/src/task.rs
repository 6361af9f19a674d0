//! What one process measures, and what it answers.
//!
//! The driver gives a [`Task`] as JSON on the command line of a process of its own; the process prints
//! [`Measured`] as one line of JSON.

use serde::{Deserialize, Serialize};

/// How the broker keeps a queue, and which broker it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Quorum,
    Classic,
    /// The broker in the process.
    Memory,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
            Self::Memory => "memory",
        }
    }
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// As every example shows it: one `.await` after another, and an acknowledgement for each.
    LapinNaive,
    /// Publishes that overlap, and acknowledgements of several deliveries at once.
    LapinTuned,
    /// The same, with messages that are those of es-bus to the last byte, made beforehand: what it costs
    /// to send an envelope and headers, whoever makes them. End to end, where a body says when it was due,
    /// with messages of the same length and headers.
    LapinAlike,
    /// es-bus; where several events are on their way, by as many calls of `publish`.
    EsBus,
    /// es-bus, by `publish_all`.
    EsBusList,
    /// A bounded channel, and JSON both ways: what a broker in the process cannot do without.
    Floor,
}

impl Contender {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::LapinNaive => "lapin-naive",
            Self::LapinTuned => "lapin-tuned",
            Self::LapinAlike => "lapin-alike",
            Self::EsBus => "es-bus",
            Self::EsBusList => "es-bus-list",
            Self::Floor => "mpsc-json",
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// Not measured: the queue is there, empty, and then has `fill` events, the first of them slow if asked for.
    Prepare { fill: u64, slow: bool },
    /// Publish, with so many unconfirmed at once.
    Publish { window: usize },
    /// Take and acknowledge, with so many sent ahead.
    Consume { prefetch: u16 },
    /// As [`Consume`](Self::Consume), beside one event more that takes as long as all of them.
    Beside { prefetch: u16 },
    /// Publish at a rate and take in the same process.
    EndToEnd { rate: u64 },
    /// From nothing to so many groups that consume.
    Start { groups: usize },
    /// Publish and take within the process.
    Memory,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) contender: Contender,
    pub(crate) work: Work,
    pub(crate) kind: Kind,
    /// Bytes of an event's own JSON.
    pub(crate) size: usize,
    /// How many are measured; what warms up comes on top.
    pub(crate) events: u64,
    /// Of the group that takes them.
    pub(crate) handlers: usize,
    /// Where the broker is, once it is known.
    pub(crate) url: String,
    /// The process of the broker.
    pub(crate) broker: Option<u32>,
}

impl Task {
    /// The exchange: one for each topology, so that no event goes to two queues.
    pub(crate) fn exchange(&self) -> String {
        format!("bench-{}-{}", self.kind.as_str(), self.handlers)
    }

    /// The queue of the group that takes parcels.
    pub(crate) fn queue(&self) -> String {
        format!("{}.{}", self.exchange(), crate::parcel::GROUP)
    }

    /// How many events go before the first that counts.
    pub(crate) fn warm_up(&self) -> u64 {
        (self.events / 10).min(500)
    }
}

/// The answer: what `events` events cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) events: u64,
    pub(crate) seconds: f64,
    /// Of a publish until its confirm, or of an event from its due time until it is taken; 0 where
    /// nothing of the kind was measured.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) client_cpu_us: f64,
    pub(crate) broker_cpu_us: f64,
    /// The most that the process ever had.
    pub(crate) peak_rss_kib: u64,
}

impl Measured {
    pub(crate) fn rate(&self) -> f64 {
        self.events as f64 / self.seconds
    }

    pub(crate) fn client_cpu_per_event(&self) -> f64 {
        self.client_cpu_us / self.events as f64
    }

    pub(crate) fn broker_cpu_per_event(&self) -> f64 {
        self.broker_cpu_us / self.events as f64
    }
}
