//! A topology as nouns: exchanges, queues and the bindings between them.
//!
//! Plain values, ordered and comparable. `topology` makes one of what a program declares; a broker
//! is brought to it. The names of AMQP arguments stand here and nowhere else.

mod arguments;
mod binding;
mod definitions;
mod delivers;
pub(crate) mod equivalence;
mod exchange;
pub(crate) mod json;
mod lanes;
mod limits;
mod mermaid;
mod observed;
mod permissions;
pub mod policy;
mod queue;
mod spread;
mod stream;
mod svg;
mod template;

use std::{collections::BTreeMap, iter};

pub use self::{
    arguments::Arguments,
    binding::{Binding, ExchangeBinding},
    definitions::NotInDefinitions,
    delivers::delivers,
    equivalence::Difference,
    exchange::Exchange,
    limits::Policy,
    observed::{
        BrokerInfo, ExchangeSettings, Observed, ObservedBinding, ObservedExchange, ObservedPolicy,
        ObservedQueue, QueueSettings, View,
    },
    permissions::{Permissions, Rights, TopicRights},
    queue::{DeadLetter, DeadLetterStrategy, Overflow, Queue, QueueKind},
    stream::{NoStreamOffset, StreamOffset},
    template::{Filling, Template},
};
pub(crate) use self::{
    delivers::{asked, in_words, refusal},
    exchange::{HASH_HEADER, HASH_PROPERTY},
    spread::Stop,
};
pub use crate::exchange::ExchangeKind;
use crate::{
    message::Headers,
    name::{ExchangeName, QueueName},
};

/// What has to exist on a broker before the program may run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    exchanges: BTreeMap<ExchangeName, Exchange>,
    queues: BTreeMap<QueueName, Queue>,
    bindings: Vec<Binding>,
    exchange_bindings: Vec<ExchangeBinding>,
    unbound: Vec<Binding>,
    formers: Vec<Former>,
}

/// A name that a group had, and what was named after it: what is there under it is to come to the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Former {
    /// The queue of the group.
    pub(crate) queue: QueueName,
    /// Its dead-letter queue, where it has one.
    pub(crate) dlq: Option<QueueName>,
    /// The queue that it had under that name.
    pub(crate) old: QueueName,
    /// The dead-letter queue that it had.
    pub(crate) old_dlq: QueueName,
}

impl Former {
    /// The exchange by which retries came back to the old queue.
    pub(crate) fn entry(&self) -> String {
        format!("{}.in", self.old)
    }

    /// The exchange that picked the queue in which they waited.
    pub(crate) fn retry(&self) -> String {
        format!("{}.retry", self.old)
    }

    /// The queue of its suspects.
    pub(crate) fn suspects(&self) -> String {
        format!("{}.suspects", self.old)
    }

    /// Whether a queue is one in which its retries waited: it ends in their delay, `4s` or `1500ms`.
    pub(crate) fn is_retry_queue(&self, name: &str) -> bool {
        let delay = name.strip_prefix(self.old.as_str()).and_then(|rest| rest.strip_prefix(".retry."));
        let number = delay.and_then(|delay| delay.strip_suffix("ms").or_else(|| delay.strip_suffix('s')));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit()))
    }

    /// An exchange that is there from when all was moved until the old queue is gone. Over AMQP nothing else
    /// tells a queue that was left unbound for the sake of its last consumers from one that gets events.
    pub(crate) fn marker(&self) -> String {
        format!("{}.migrated", self.old)
    }

    /// Whether a queue was the group's under that name; the group may share the dead-letter queue with it.
    pub(crate) fn has_queue(&self, name: &str) -> bool {
        name == self.old.as_str()
            || name == self.suspects()
            || self.is_retry_queue(name)
            || name == self.old_dlq.as_str() && self.dlq.as_ref() != Some(&self.old_dlq)
    }

    /// Whether an exchange was the group's alone under that name.
    pub(crate) fn has_exchange(&self, name: &str) -> bool {
        [self.entry(), self.retry(), self.marker()].iter().any(|it| it == name)
    }
}

impl Topology {
    /// A topology of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an exchange; gives back the one of that name that says something else.
    ///
    /// # Errors
    ///
    /// The exchange that is already there, when it differs.
    pub fn add_exchange(&mut self, exchange: Exchange) -> Result<(), Exchange> {
        add(&mut self.exchanges, exchange.name.clone(), exchange)
    }

    /// Adds a queue; gives back the one of that name that says something else.
    ///
    /// # Errors
    ///
    /// The queue that is already there, when it differs.
    pub fn add_queue(&mut self, queue: Queue) -> Result<(), Box<Queue>> {
        add(&mut self.queues, queue.name.clone(), queue).map_err(Box::new)
    }

    /// Adds a binding, once.
    pub fn add_binding(&mut self, binding: Binding) {
        if !self.bindings.contains(&binding) {
            self.bindings.push(binding);
        }
    }

    /// Adds a binding of an exchange to an exchange, once.
    pub fn add_exchange_binding(&mut self, binding: ExchangeBinding) {
        if !self.exchange_bindings.contains(&binding) {
            self.exchange_bindings.push(binding);
        }
    }

    /// Adds a binding that must not be there (any more), once; one that must be there stays.
    pub fn add_unbound(&mut self, binding: Binding) {
        if !self.bindings.contains(&binding) && !self.unbound.contains(&binding) {
            self.unbound.push(binding);
        }
    }

    /// Adds a name that a group had.
    pub(crate) fn add_former(&mut self, former: Former) {
        self.formers.push(former);
    }

    /// The names that groups had.
    pub(crate) fn formers(&self) -> &[Former] {
        &self.formers
    }

    /// The exchanges, by name.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.values()
    }

    /// The queues, by name.
    pub fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.values()
    }

    /// The policies that carry limits of queues, by the name of the queue.
    pub fn policies(&self) -> impl Iterator<Item = Policy> {
        self.queues().filter_map(Queue::policy)
    }

    /// The bindings of queues, in the order in which they were added.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter()
    }

    /// The bindings of exchanges to exchanges, in the order in which they were added.
    pub fn exchange_bindings(&self) -> impl Iterator<Item = &ExchangeBinding> {
        self.exchange_bindings.iter()
    }

    /// The bindings that must not be there.
    pub fn unbound(&self) -> impl Iterator<Item = &Binding> {
        self.unbound.iter()
    }

    /// What of it another one does not hold.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self {
            exchanges: beyond(&self.exchanges, &other.exchanges),
            queues: beyond(&self.queues, &other.queues),
            bindings: self.bindings.iter().filter(|it| !other.bindings.contains(it)).cloned().collect(),
            exchange_bindings: self
                .exchange_bindings
                .iter()
                .filter(|it| !other.exchange_bindings.contains(it))
                .cloned()
                .collect(),
            unbound: self.unbound.iter().filter(|it| !other.unbound.contains(it)).cloned().collect(),
            formers: Vec::new(),
        }
    }

    /// The exchange of a name.
    #[must_use]
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchanges.get(name)
    }

    /// The queue of a name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.get(name)
    }

    /// Whether a message that is published here reaches a queue by a binding of this topology, on its
    /// exchange, on one that is bound to it, or on an alternate exchange.
    #[must_use]
    pub fn routes(&self, exchange: &str, routing_key: &str, headers: &Headers) -> bool {
        if !self.exchange_bindings.is_empty() {
            let takes = |exchange: &Exchange, key: &str, arguments: &Headers| {
                delivers(exchange.kind, (key, arguments), (routing_key, headers))
            };
            return self.spread(exchange, takes).iter().any(|stop| !stop.bindings.is_empty());
        }
        self.way_of(exchange).any(|exchange| {
            self.bindings_of(&exchange.name).any(|binding| {
                delivers(exchange.kind, (&binding.key, &binding.arguments), (routing_key, headers))
            })
        })
    }

    /// The exchange of a name, and those that it hands over to what it has no queue for: its alternate
    /// exchange, the alternate exchange of that one, and so on, each once.
    pub(crate) fn way_of<'a>(&'a self, exchange: &str) -> impl Iterator<Item = &'a Exchange> {
        let next = |exchange: &'a Exchange| exchange.alternate().and_then(|name| self.exchange(name));
        let start = self.exchange(exchange);
        let (mut at, mut gone) = (start, 0);
        iter::from_fn(move || {
            // Alternate exchanges may lead back to where they began. The way is short: it is gone anew rather
            // than kept, as a publish that no queue takes asks for it.
            let mut before = iter::successors(start, |exchange| next(exchange)).take(gone);
            let exchange = at.filter(|at| before.all(|exchange| exchange.name != at.name))?;
            (at, gone) = (next(exchange), gone + 1);
            Some(exchange)
        })
    }

    /// The bindings of an exchange, in the order in which they were added.
    pub(crate) fn bindings_of<'a>(&'a self, exchange: &ExchangeName) -> impl Iterator<Item = &'a Binding> {
        self.bindings.iter().filter(move |binding| binding.source == *exchange)
    }

    /// The bindings by which an exchange gives to others, in the order in which they were added.
    pub(crate) fn exchange_bindings_of<'a>(
        &'a self,
        exchange: &ExchangeName,
    ) -> impl Iterator<Item = &'a ExchangeBinding> {
        self.exchange_bindings.iter().filter(move |binding| binding.source == *exchange)
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exchanges.is_empty() && self.queues.is_empty()
    }
}

fn beyond<K: Ord + Clone, V: Clone>(all: &BTreeMap<K, V>, other: &BTreeMap<K, V>) -> BTreeMap<K, V> {
    let beyond = all.iter().filter(|(name, _)| !other.contains_key(*name));
    beyond.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn add<K: Ord, V: PartialEq + Clone>(all: &mut BTreeMap<K, V>, name: K, value: V) -> Result<(), V> {
    match all.get(&name) {
        Some(there) if *there != value => Err(there.clone()),
        Some(_) => Ok(()),
        None => {
            all.insert(name, value);
            Ok(())
        }
    }
}
