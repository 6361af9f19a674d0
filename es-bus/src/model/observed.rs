//! What a broker has: exchanges, queues and bindings as somebody saw them, and what could not be seen.
//!
//! Plain values. A transport makes one by looking; `topology` compares it with what a program declares.

use std::collections::BTreeMap;

use super::{Binding, ExchangeBinding};
use crate::message::Headers;

/// What a broker has, as far as it was seen.
///
/// Through RabbitMQ's management API, and on the in-process broker, everything is seen. Over AMQP alone a
/// broker tells whether an exchange or a queue exists, and how many ready messages and consumers a queue has:
/// neither settings nor bindings. What was not seen is `None`, never empty.
///
/// # Examples
///
/// ```
/// use es_bus::transport::{Admin, memory::Memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Memory::new();
///
/// let observed = broker.observe(&[], &[]).await?;
///
/// assert!(observed.queues.is_empty());
/// assert_eq!(observed.bindings, Some(Vec::new()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Observed {
    /// How it was looked at.
    pub view: View,
    /// The exchanges, by name, without those that the broker has by itself; over AMQP alone, those that were
    /// asked for and are there.
    pub exchanges: BTreeMap<String, ObservedExchange>,
    /// The queues, by name; over AMQP alone, those that were asked for and are there.
    pub queues: BTreeMap<String, ObservedQueue>,
    /// The bindings, without those of the default exchange.
    pub bindings: Option<Vec<ObservedBinding>>,
    /// What the broker is.
    pub broker: Option<BrokerInfo>,
    /// The policies of the virtual host.
    pub policies: Option<Vec<ObservedPolicy>>,
    /// The operator policies of the virtual host, which limit what a policy or an argument sets.
    pub operator_policies: Option<Vec<ObservedPolicy>>,
    /// Features that the broker's maker gives up, and that are in use on it (RabbitMQ 3.13 and later).
    pub deprecated: Option<Vec<String>>,
    /// What could not be seen, and why: a sentence each.
    pub unseen: Vec<String>,
}

impl Observed {
    /// An observation of nothing yet.
    #[must_use]
    pub fn new(view: View) -> Self {
        Self { view, ..Self::default() }
    }
}

/// How a broker was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum View {
    /// Over AMQP, which tells existence and counts.
    #[default]
    Amqp,
    /// Through RabbitMQ's management API, which tells everything.
    Management {
        /// Where it was asked, without a password.
        address: String,
    },
    /// From within: the in-process broker.
    Memory,
}

/// An exchange that is there.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ObservedExchange {
    /// What it was declared with.
    pub settings: Option<ExchangeSettings>,
}

/// What an exchange was declared with.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExchangeSettings {
    /// `topic`, `direct`, `fanout`, `headers`, or a plugin's word.
    pub kind: String,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether publishers are refused.
    pub internal: bool,
    /// Its arguments.
    pub arguments: Headers,
}

/// A queue that is there.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ObservedQueue {
    /// What it was declared with.
    pub settings: Option<QueueSettings>,
    /// How many messages are ready. Through the management API a count may be five seconds old.
    pub ready: Option<u64>,
    /// How many messages consumers hold.
    pub unacknowledged: Option<u64>,
    /// How many dead letters it keeps until their queue has confirmed them (at-least-once dead-lettering); no
    /// other count has them.
    pub dead_letters: Option<u64>,
    /// How many consumers it has.
    pub consumers: Option<u64>,
    /// The policy that applies to it.
    pub policy: Option<String>,
    /// What policies set on it.
    pub policy_sets: Headers,
    /// What stands in the way of using it: its node is down, or it is another connection's alone.
    pub trouble: Option<String>,
}

/// What a queue was declared with.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueueSettings {
    /// `classic`, `quorum` or `stream`.
    pub kind: String,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether it belongs to one connection.
    pub exclusive: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its arguments.
    pub arguments: Headers,
}

/// A binding that is there.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ObservedBinding {
    /// The exchange that messages come from.
    pub source: String,
    /// The queue or exchange that they go to.
    pub destination: String,
    /// Whether the destination is an exchange.
    pub to_exchange: bool,
    /// The binding key.
    pub key: String,
    /// Its arguments. JSON does not tell how wide an integer is.
    pub arguments: Headers,
}

impl ObservedBinding {
    /// A binding of which it is known by other means that it is there.
    pub(crate) fn of(binding: &Binding) -> Self {
        Self {
            source: binding.source.as_str().to_owned(),
            destination: binding.queue.as_str().to_owned(),
            to_exchange: false,
            key: binding.key.clone(),
            arguments: binding.arguments.clone(),
        }
    }
}

impl ObservedBinding {
    /// A binding between exchanges of which it is known by other means that it is there.
    pub(crate) fn of_exchange(binding: &ExchangeBinding) -> Self {
        Self {
            source: binding.source.as_str().to_owned(),
            destination: binding.destination.as_str().to_owned(),
            to_exchange: true,
            key: binding.key.clone(),
            arguments: binding.arguments.clone(),
        }
    }
}

/// What a broker is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerInfo {
    /// `RabbitMQ`, or what else its maker calls it.
    pub product: String,
    /// The version of RabbitMQ.
    pub version: String,
    /// The version of Erlang.
    pub erlang: String,
    /// The plugins that are enabled on any node, sorted; reading them takes the user tag `monitoring`.
    pub plugins: Option<Vec<String>>,
}

impl BrokerInfo {
    /// The first number of the version; `None` when it does not begin with one.
    #[must_use]
    pub fn major(&self) -> Option<u32> {
        self.version.split('.').next()?.parse().ok()
    }
}

/// A policy.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ObservedPolicy {
    /// Its name.
    pub name: String,
    /// Which names it applies to, as a regular expression.
    pub pattern: String,
    /// `queues`, `exchanges`, `all`, or a kind of queues.
    pub apply_to: String,
    /// What it sets.
    pub definition: Headers,
    /// Of several that match, the highest applies.
    pub priority: i64,
}
