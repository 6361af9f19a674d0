//! A queue and the arguments that it is declared with.

use std::{borrow::Cow, time::Duration};

use super::{Policy, policy::LimitsIn};
use crate::{
    message::{Headers, Value},
    name::{ExchangeName, QueueName},
};

/// A queue, as AMQP declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Its name.
    pub name: QueueName,
    /// How the broker keeps it.
    pub kind: QueueKind,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether it belongs to one connection and ends with it.
    pub exclusive: bool,
    /// Whether it is deleted when its last consumer is gone.
    pub auto_delete: bool,
    /// Where messages go that it does not keep.
    pub dead_letter: Option<DeadLetter>,
    /// How long a message may wait in it.
    pub message_ttl: Option<Duration>,
    /// How long it may stand unused before the broker deletes it.
    pub expires: Option<Duration>,
    /// How many messages it may hold.
    pub max_length: Option<u64>,
    /// How many bytes of bodies it may hold.
    pub max_length_bytes: Option<u64>,
    /// How long a message stays in it at least (streams); in whole seconds.
    pub max_age: Option<Duration>,
    /// What happens to the message that does not fit.
    pub overflow: Option<Overflow>,
    /// After how many returns the broker gives a message up (quorum queues).
    pub delivery_limit: Option<u64>,
    /// The highest priority that it tells apart (classic queues); messages of a higher one count as
    /// of this one, those without any as of 0.
    pub max_priority: Option<u8>,
    /// Whether one of its consumers has all deliveries, until it is gone.
    pub single_active_consumer: bool,
    /// Whether the declaration leaves the kind out, as clients do that know of none. RabbitMQ 3 tells
    /// such a queue from a `classic` one.
    pub untyped: bool,
    /// Further arguments, by their AMQP names.
    pub arguments: Headers,
    /// What carries its limits; [`policy`](Self::policy) says which.
    pub limits_in: LimitsIn,
}

impl Queue {
    /// A durable queue without limits.
    #[must_use]
    pub fn durable(name: QueueName, kind: QueueKind) -> Self {
        Self {
            name,
            kind,
            durable: true,
            exclusive: false,
            auto_delete: false,
            dead_letter: None,
            message_ttl: None,
            expires: None,
            max_length: None,
            max_length_bytes: None,
            max_age: None,
            overflow: None,
            delivery_limit: None,
            max_priority: None,
            single_active_consumer: false,
            untyped: false,
            arguments: Headers::new(),
            limits_in: LimitsIn::Arguments,
        }
    }

    /// Its name, as it is the same in every process: that of an exclusive group ends in what only one has.
    #[must_use]
    pub(crate) fn common_name(&self) -> Cow<'_, str> {
        let name = self.name.as_str();
        match name.rsplit_once('.').filter(|_| self.exclusive) {
            Some((stem, _process)) => Cow::Owned(format!("{stem}.*")),
            None => Cow::Borrowed(name),
        }
    }

    /// The arguments table that the queue is declared with.
    #[must_use]
    pub fn argument_table(&self) -> Headers {
        let mut table = self.arguments.clone();
        if !self.untyped {
            // 3.10 takes its absence for none at all, 4.0 for `classic`.
            table.insert("x-queue-type", self.kind.as_str());
        }
        if let Some(dead_letter) = &self.dead_letter {
            table.insert("x-dead-letter-exchange", dead_letter.exchange.as_str());
            if let Some(key) = &dead_letter.routing_key {
                table.insert("x-dead-letter-routing-key", key.as_str());
            }
            if dead_letter.strategy == DeadLetterStrategy::AtLeastOnce {
                table.insert("x-dead-letter-strategy", "at-least-once");
            }
        }
        let mut number = |name: &'static str, value: Option<u64>| {
            if let Some(value) = value {
                table.insert(name, integer(value));
            }
        };
        number("x-delivery-limit", self.delivery_limit);
        number("x-max-priority", self.max_priority.map(u64::from));
        if let Some(age) = self.max_age {
            table.insert("x-max-age", format!("{}s", age.as_secs()));
        }
        if self.single_active_consumer {
            table.insert("x-single-active-consumer", true);
        }
        let carried = if self.has_policy() { Headers::new() } else { self.limits() };
        for (name, value) in carried.iter() {
            table.insert(format!("x-{name}"), value.clone());
        }
        if let Some(overflow) = self.overflow.filter(|_| self.is_at_least_once()) {
            table.insert("x-overflow", overflow.as_str());
        }
        table
    }

    /// Whether a policy carries its limits. That of a connection goes with it and is declared anew by the next, and
    /// that of another library's workers has what those declare.
    pub(crate) fn has_policy(&self) -> bool {
        self.limits_in == LimitsIn::Policies && !self.exclusive && !self.untyped
    }

    /// The policy that carries its limits; `None` where arguments do, or it has none.
    ///
    /// # Examples
    ///
    /// ```
    /// use es_bus::{
    ///     model::{Queue, QueueKind, policy::LimitsIn},
    ///     name::QueueName,
    /// };
    ///
    /// let name = QueueName::new("orders.ledger").unwrap();
    /// let queue = Queue {
    ///     max_length: Some(1000),
    ///     limits_in: LimitsIn::Policies,
    ///     ..Queue::durable(name, QueueKind::Classic)
    /// };
    ///
    /// let policy = queue.policy().unwrap();
    /// assert_eq!((policy.name(), policy.pattern()), ("es-bus.orders.ledger", r"^orders\.ledger$".to_owned()));
    /// assert_eq!(policy.definition.get_int("max-length"), Some(1000));
    /// assert_eq!(queue.argument_table().get("x-max-length"), None);
    /// ```
    #[must_use]
    pub fn policy(&self) -> Option<Policy> {
        let definition = self.has_policy().then(|| self.limits())?;
        (!definition.is_empty()).then(|| Policy::of(self.name.clone(), definition))
    }

    /// Its limits, by the names that policies have for them. What at-least-once dead-lettering rests on is none.
    fn limits(&self) -> Headers {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let numbers = [
            ("message-ttl", self.message_ttl.map(ms)),
            ("expires", self.expires.map(ms)),
            ("max-length", self.max_length),
            ("max-length-bytes", self.max_length_bytes),
        ];
        let numbers = numbers.into_iter().filter_map(|(name, value)| Some((name, integer(value?))));
        let mut limits: Headers = numbers.collect();
        if let Some(overflow) = self.overflow.filter(|_| !self.is_at_least_once()) {
            limits.insert("overflow", overflow.as_str());
        }
        limits
    }

    fn is_at_least_once(&self) -> bool {
        self.dead_letter.as_ref().is_some_and(|letter| letter.strategy == DeadLetterStrategy::AtLeastOnce)
    }
}

fn integer(value: u64) -> Value {
    Value::I64(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Where a queue sends what it does not keep: expired, rejected, or dropped for length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The dead-letter exchange.
    pub exchange: ExchangeName,
    /// The key it is published with; the message's own when `None`.
    pub routing_key: Option<String>,
    /// What the broker promises about it.
    pub strategy: DeadLetterStrategy,
}

/// What the broker promises about a dead letter on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterStrategy {
    /// Sent and forgotten: lost when the target does not take it.
    AtMostOnce,
    /// Kept until the target has confirmed it. Quorum queues only, and it holds only together with
    /// [`Overflow::RejectPublish`].
    AtLeastOnce,
}

/// How the broker keeps a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueKind {
    /// Replicated over the nodes of a cluster.
    Quorum,
    /// On one node.
    Classic,
    /// A log that is read from any place in it, and keeps what was read.
    Stream,
}

impl QueueKind {
    /// The value of `x-queue-type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
            Self::Stream => "stream",
        }
    }
}

/// What happens to the message that a full queue has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// The oldest message goes.
    DropHead,
    /// The new message is refused, and its publisher told.
    RejectPublish,
    /// The new message is refused and dead-lettered (classic queues).
    RejectPublishDlx,
}

impl Overflow {
    /// The value of `x-overflow`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DropHead => "drop-head",
            Self::RejectPublish => "reject-publish",
            Self::RejectPublishDlx => "reject-publish-dlx",
        }
    }
}
