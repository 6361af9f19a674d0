//! A group with all that its worker and its topology need to know.
//!
//! In come the definitions of its handlers and its effective settings; out goes a [`GroupSpec`],
//! which names every queue and exchange of the group and answers what its handlers take.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    Asked, Bound, Exchanges, Patience, bound,
    takers::{Found, Takers},
};
use crate::{
    event::EventKind,
    exchange::ExchangeKind,
    handler::{Call, HandlerService, Pace},
    model::{
        Arguments, Binding, Filling, Overflow, QueueKind, StreamOffset, Template,
        policy::{Compat, DlxKind, LimitsIn, OnExhausted, OnUnknown, Ordering},
    },
    name::{ExchangeName, GroupName, InvalidName, QueueName},
    registry::HandlerDef,
    retry::RetryPolicy,
    telemetry::GroupWatch,
};

/// The effective settings of a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GroupSettings {
    /// The exchange that the group's queue is named after, and that raw handlers bind on.
    pub(crate) home: ExchangeName,
    /// The name of the queue.
    pub(crate) queue: Template,
    /// What stands for `{dlq_exchange_suffix}`.
    pub(crate) dlx_suffix: String,
    /// How the broker keeps the queue that is consumed.
    pub(crate) kind: QueueKind,
    /// What carries the limits of the group's queues.
    pub(crate) limits_in: LimitsIn,
    /// The stream that events come to first; none where they come to the queue itself.
    pub(crate) stream: Option<StreamSettings>,
    /// Whose workers consume the queue too.
    pub(crate) compat: Option<Compat>,
    /// What tells the queue of this process from those of its siblings, where each has its own.
    pub(crate) exclusive: Option<String>,
    /// Whether one process has all deliveries.
    pub(crate) single_active_consumer: bool,
    /// How many deliveries may be in hand.
    pub(crate) prefetch: u16,
    /// How many events are handled at once.
    pub(crate) concurrency: usize,
    /// How long the broker waits for an acknowledgement.
    pub(crate) patience: Patience,
    /// Which events may overtake which.
    pub(crate) ordering: Ordering,
    /// What happens to an event that no handler takes; by the bindings when not said.
    pub(crate) on_unknown: Option<OnUnknown>,
    /// How long an unknown event waits.
    pub(crate) unknown_wait: UnknownWait,
    /// How many processes may end over an event; `None` counts none.
    pub(crate) crash_limit: Option<u32>,
    /// How large its share of what a consistent-hash exchange has is, beside those of others.
    pub(crate) weight: u16,
    /// Events that the group has no handler for any more.
    pub(crate) retired: Vec<String>,
    /// The delays that `retry after` is made of.
    pub(crate) ladder: Vec<Duration>,
    /// How many messages the queue may hold.
    pub(crate) max_length: Option<u64>,
    /// How many bytes of bodies the queue may hold.
    pub(crate) max_length_bytes: Option<u64>,
    /// What happens to the message that does not fit.
    pub(crate) overflow: Overflow,
    /// How long an event may wait in the queue.
    pub(crate) message_ttl: Option<Duration>,
    /// How long the queue may stand unused.
    pub(crate) expires: Option<Duration>,
    /// The highest priority.
    pub(crate) max_priority: Option<u8>,
    /// Whether the queues outlive the broker.
    pub(crate) durable: bool,
    /// Whether the queue goes with its last consumer.
    pub(crate) auto_delete: bool,
    /// Further arguments of the queue.
    pub(crate) arguments: Arguments,
    /// What happens to an event that its handlers gave up.
    pub(crate) on_exhausted: OnExhausted,
    /// The dead-letter exchange.
    pub(crate) dlx: Template,
    /// How it picks queues.
    pub(crate) dlx_kind: DlxKind,
    /// The dead-letter queue.
    pub(crate) dlq: Template,
    /// The routing key of dead letters.
    pub(crate) dlq_key: Option<Template>,
    /// The key that binds the dead-letter queue.
    pub(crate) dlq_bind: Option<Template>,
    /// How the broker keeps the dead-letter queue.
    pub(crate) dlq_kind: QueueKind,
    /// How long a dead letter is kept.
    pub(crate) dlq_ttl: Option<Duration>,
    /// How many dead letters are kept.
    pub(crate) dlq_max_length: Option<u64>,
}

/// The stream of a group.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StreamSettings {
    /// Where the group begins that has no position yet.
    pub(crate) offset: StreamOffset,
    /// How long an event stays at least.
    pub(crate) max_age: Option<Duration>,
    /// How many bytes of bodies it holds at least.
    pub(crate) max_length_bytes: Option<u64>,
    /// Further arguments.
    pub(crate) arguments: Arguments,
}

/// The queues of a group with a stream, beside the one that it consumes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StreamNames {
    /// `{queue}.stream`, which events come to.
    pub(crate) stream: QueueName,
    /// `{queue}.position`, in which stands how far it was read.
    pub(crate) position: QueueName,
}

/// How long an unknown event waits for a replica that knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownWait {
    /// How long each time.
    pub(crate) delay: Duration,
    /// How many times.
    pub(crate) times: u32,
}

/// A handler with its effective policy.
#[derive(Clone, Debug)]
pub(crate) struct HandlerSpec {
    /// Its name: unique in the group, and what retries find it by.
    pub(crate) name: Arc<str>,
    /// Names that it had before.
    pub(crate) formerly: &'static [&'static str],
    /// The bindings that it asks for.
    pub(crate) bound: Vec<Bound>,
    /// The events that it takes; `None` for a handler of raw events.
    pub(crate) kinds: Option<Cow<'static, [EventKind]>>,
    /// The events that its result may publish.
    pub(crate) emits: Vec<&'static EventKind>,
    /// Runs it.
    pub(crate) call: Call,
    /// When failed events come back.
    pub(crate) policy: RetryPolicy,
    /// How long one run may take.
    pub(crate) timeout: Duration,
    /// How long a run takes that is told of as slow.
    pub(crate) slow: Option<Duration>,
    /// The handler with the layers around it; `None` without any.
    pub(crate) service: Option<HandlerService>,
    /// How long its runs take.
    pub(crate) pace: Arc<Pace>,
}

impl HandlerSpec {
    /// A handler as its attribute says, under the policy that the configuration gives it, in a group
    /// of this home exchange.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] for an exchange that AMQP has no name for.
    pub(crate) fn of(
        def: &'static HandlerDef,
        policy: RetryPolicy,
        timeout: Duration,
        home: &ExchangeName,
        exchanges: &Exchanges,
    ) -> Result<Self, InvalidName> {
        let asked: Option<Vec<Asked>> = def.has_bind.then(|| def.binds.iter().map(Asked::from).collect());
        Ok(Self {
            name: def.name.into(),
            formerly: def.formerly,
            bound: bound(asked.as_deref(), def.kinds(), home, exchanges)?,
            kinds: def.kinds().map(Cow::Borrowed),
            emits: def.emitted(),
            call: def.call.clone(),
            policy,
            timeout,
            slow: None,
            service: None,
            pace: Arc::default(),
        })
    }
}

impl HandlerSpec {
    /// Whether a binding brings events that the handler did not name. One by the key of an event brings that event,
    /// fields or not.
    fn is_wide(&self, bound: &Bound) -> bool {
        let is_own = |kind: &EventKind| kind.has_fields() && bound.key == kind.key;
        bound.is_wide()
            && !(bound.kind == ExchangeKind::Topic
                && self.kinds.iter().flat_map(|kinds| kinds.iter()).any(is_own))
    }
}

/// A binding that was made while the program runs. It is the group's: what it brings goes to every
/// handler that takes the type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LateBound {
    /// The binding.
    pub(crate) bound: Bound,
    /// Whether it is bound. What an unbound one had brought before is handled as ever.
    pub(crate) holds: bool,
}

/// A group: handlers, settings, and the names of all that belongs to it on the broker.
#[derive(Clone, Debug)]
pub(crate) struct GroupSpec {
    /// Its name.
    pub(crate) name: GroupName,
    /// Its settings.
    pub(crate) settings: GroupSettings,
    /// Its handlers, by name.
    pub(crate) handlers: Vec<HandlerSpec>,
    /// What was bound while the program runs.
    pub(crate) bound: Vec<LateBound>,
    /// What was layered around all of them.
    pub(crate) service: Option<HandlerService>,
    /// `{exchange}.{group}`, unless it is named otherwise.
    pub(crate) queue: QueueName,
    /// `{queue}.dlq`, unless it is named otherwise. Groups may share it.
    pub(crate) dlq: QueueName,
    /// `{exchange}_dlq`, unless it is named otherwise; the default exchange has no name.
    pub(crate) dlx: ExchangeName,
    /// The routing key of dead letters.
    pub(crate) dlq_key: String,
    /// What binds the dead-letter queue to its exchange.
    pub(crate) dlq_bind: String,
    /// `{queue}.retry`, a headers exchange that picks the delay queue.
    pub(crate) retry: ExchangeName,
    /// `{queue}.in`, a fanout exchange that leads back to the queue.
    pub(crate) entry: ExchangeName,
    /// Names that it had before, with what was named after each.
    pub(crate) formerly: Vec<FormerGroup>,
    /// Where its events come first, and how far they were read; none where they come to the queue itself.
    pub(crate) stream: Option<StreamNames>,
    takers: Found,
}

/// A name that a group had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FormerGroup {
    pub(crate) name: &'static str,
    /// The queue that the group had under it, if it was named as the one of today is.
    pub(crate) queue: QueueName,
    /// Its dead-letter queue, likewise.
    pub(crate) dlq: QueueName,
}

impl GroupSpec {
    /// Puts a group together.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] when a derived name is longer than AMQP carries.
    pub(crate) fn new(
        name: GroupName,
        settings: GroupSettings,
        handlers: Vec<HandlerSpec>,
    ) -> Result<Self, InvalidName> {
        let filling = Filling {
            exchange: settings.home.as_str(),
            group: name.as_str(),
            queue: "",
            dlq_exchange_suffix: &settings.dlx_suffix,
        };
        let named = settings.queue.fill(filling);
        let queue = match &settings.exclusive {
            Some(process) => format!("{named}.{process}"),
            None => named,
        };
        let filling = Filling { queue: &queue, ..filling };
        let dlq = QueueName::new(settings.dlq.fill(filling))?;
        let dlx = match settings.dlx.fill(filling) {
            name if name == DEFAULT_EXCHANGE => ExchangeName::default_exchange(),
            name => ExchangeName::new(name)?,
        };
        let dlq_key = match &settings.dlq_key {
            Some(key) => key.fill(filling),
            // The only one that the default exchange routes by.
            None if dlx.as_str().is_empty() => dlq.as_str().to_owned(),
            None => queue.clone(),
        };
        let dlq_bind = settings.dlq_bind.as_ref().map_or_else(|| dlq_key.clone(), |bind| bind.fill(filling));
        let stream = match &settings.stream {
            Some(_) => Some(StreamNames {
                stream: QueueName::new(format!("{queue}.stream"))?,
                position: QueueName::new(format!("{queue}.position"))?,
            }),
            None => None,
        };
        // The longest name that is derived from the queue's is checked with the others, when it is made.
        Ok(Self {
            dlq,
            dlx,
            dlq_key,
            dlq_bind,
            retry: ExchangeName::new(format!("{queue}.retry"))?,
            entry: ExchangeName::new(format!("{queue}.in"))?,
            stream,
            queue: QueueName::new(queue)?,
            name,
            settings,
            handlers,
            bound: Vec::new(),
            service: None,
            formerly: Vec::new(),
            takers: Found::default(),
        })
    }

    /// The group with the names that it had before.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), for what was named after one of them.
    pub(crate) fn formerly(mut self, names: &'static [&'static str]) -> Result<Self, InvalidName> {
        for &name in names {
            let old = Self::new(GroupName::new(name)?, self.settings.clone(), Vec::new())?;
            self.formerly.push(FormerGroup { name, queue: old.queue, dlq: old.dlq });
        }
        Ok(self)
    }

    /// The group as it is for as long as it lives.
    #[must_use]
    pub(crate) fn without_handlers(&self) -> Self {
        // `clone` would hold the handlers for a moment, no longer.
        Self { handlers: Vec::new(), bound: Vec::new(), ..self.clone() }
    }

    /// What others see of the group while it is consumed.
    pub(crate) fn watch(&self) -> GroupWatch {
        GroupWatch::new(
            self.name.clone(),
            self.queue.clone(),
            self.keeps_dead_letters().then(|| self.dlq.clone()),
        )
    }

    /// Whether what is given up is kept, in the dead-letter queue.
    #[must_use]
    pub(crate) fn keeps_dead_letters(&self) -> bool {
        self.settings.on_exhausted == OnExhausted::DeadLetter && !self.is_exclusive()
    }

    /// The queue that events come to: its stream, or the one that it consumes.
    #[must_use]
    pub(crate) fn bound_queue(&self) -> &QueueName {
        self.stream.as_ref().map_or(&self.queue, |names| &names.stream)
    }

    /// Whether each process has a queue of its own, which goes with its connection.
    #[must_use]
    pub(crate) fn is_exclusive(&self) -> bool {
        self.settings.exclusive.is_some()
    }

    /// Whether workers of eventsource-py consume the queue too.
    #[must_use]
    pub(crate) fn is_shared_with_eventsource(&self) -> bool {
        self.settings.compat == Some(Compat::Eventsource)
    }

    /// The queue in which events wait for this long.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] when the name is longer than AMQP carries.
    pub(crate) fn retry_queue(&self, delay: Duration) -> Result<QueueName, InvalidName> {
        self.retry_queue_named(&delay_name(delay))
    }

    /// The queue in which events wait for the delay of this name.
    ///
    /// # Errors
    ///
    /// As [`retry_queue`](Self::retry_queue).
    pub(crate) fn retry_queue_named(&self, delay: &str) -> Result<QueueName, InvalidName> {
        QueueName::new(format!("{}.{delay}", self.retry))
    }

    /// The queue of the events that may have ended a process, from which they are handled alone. None
    /// where events must not be moved, or have no queue that stays: in groups of one active consumer, and
    /// where the queue goes with its consumers.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] when the name is longer than AMQP carries.
    pub(crate) fn suspects(&self) -> Option<Result<QueueName, InvalidName>> {
        let goes = self.is_exclusive() || self.settings.auto_delete;
        (self.settings.crash_limit.is_some() && !goes && !self.settings.single_active_consumer)
            .then(|| QueueName::new(format!("{}.suspects", self.queue)))
    }

    /// Every delay that has a queue: the policies', the ladder's, and the unknown events'. None in an
    /// exclusive group, which waits in memory.
    #[must_use]
    pub(crate) fn delays(&self) -> Vec<Duration> {
        if self.is_exclusive() {
            return Vec::new();
        }
        let mut delays: BTreeSet<Duration> =
            self.handlers.iter().flat_map(|handler| handler.policy.delays()).collect();
        delays.extend(&self.settings.ladder);
        // Also when unknown events are skipped: a handler that is gone leaves attempts that wait.
        if self.settings.unknown_wait.times > 0 {
            delays.insert(self.settings.unknown_wait.delay);
        }
        delays.into_iter().collect()
    }

    /// A binding of the group's queue.
    pub(crate) fn binding(&self, bound: &Bound) -> Binding {
        bound.of(self.bound_queue(), self.settings.weight)
    }

    /// The bindings that the handlers ask for, each once, by exchange and key.
    #[must_use]
    pub(crate) fn bindings(&self) -> Vec<&Bound> {
        let mut bindings: Vec<&Bound> = Vec::new();
        for bound in self.handlers.iter().flat_map(|handler| &handler.bound) {
            if !bindings.contains(&bound) {
                bindings.push(bound);
            }
        }
        bindings.sort_by(|a, b| (a.exchange.as_str(), &a.key).cmp(&(b.exchange.as_str(), &b.key)));
        bindings
    }

    /// What happens to an event that no handler takes: as set, else *skip* in a group with a wide
    /// binding (it gets events that nobody asked for) and *wait* in one with exact bindings only (a
    /// newer replica asked for it). An exclusive group has nowhere to keep it. What came as a share of a
    /// consistent-hash exchange waits as well, as no other group has it.
    #[must_use]
    pub(crate) fn on_unknown(&self) -> OnUnknown {
        if self.is_exclusive() {
            return OnUnknown::Skip;
        }
        self.settings.on_unknown.unwrap_or_else(|| {
            let late = self.bound.iter().map(|late| &late.bound);
            let is_wide = |handler: &HandlerSpec| handler.bound.iter().any(|bound| handler.is_wide(bound));
            if self.has_shares() {
                OnUnknown::Wait
            } else if self.handlers.iter().any(is_wide) || late.into_iter().any(Bound::is_wide) {
                OnUnknown::Skip
            } else {
                OnUnknown::Wait
            }
        })
    }

    /// Whether it gets a share of what a consistent-hash exchange has.
    #[must_use]
    pub(crate) fn has_shares(&self) -> bool {
        let late = self.bound.iter().map(|late| &late.bound);
        let mut all = self.handlers.iter().flat_map(|handler| &handler.bound).chain(late);
        all.any(|bound| bound.kind == ExchangeKind::ConsistentHash)
    }

    /// Who takes what. The group must not be changed after that, only a clone of it.
    #[must_use]
    pub(crate) fn takers(&self) -> &Takers {
        self.takers.of(self)
    }

    /// Whether nothing is left to consume or to keep bound.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.handlers.is_empty() && self.bound.iter().all(|late| !late.holds)
    }

    /// The events of this program that the group's bindings bring and no handler takes.
    #[must_use]
    pub(crate) fn skipped<'a>(&self, known: &'a [EventKind], exchanges: &Exchanges) -> Vec<&'a EventKind> {
        let bindings = self.bindings();
        known
            .iter()
            .filter(|kind| bindings.iter().any(|bound| brings(bound, kind, exchanges)))
            .filter(|kind| !self.handlers.iter().any(|handler| takes(handler, kind, exchanges)))
            .collect()
    }
}

/// Whether a binding brings an event, as far as that can be foreseen.
fn brings(bound: &Bound, kind: &EventKind, exchanges: &Exchanges) -> bool {
    bound.exchange.as_str() == exchanges.of(kind) && bound.may_deliver(kind)
}

/// Whether a handler takes an event that it is sent.
fn takes(handler: &HandlerSpec, kind: &EventKind, exchanges: &Exchanges) -> bool {
    handler.bound.iter().any(|bound| brings(bound, kind, exchanges))
        && handler.kinds.as_deref().is_none_or(|kinds| {
            kinds.iter().any(|own| own.name == kind.name && own.aggregate == kind.aggregate)
        })
}

/// What people call the exchange without a name.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// How a delay is written in the name of its queue: `4s`, `1500ms`.
#[must_use]
pub(crate) fn delay_name(delay: Duration) -> String {
    let ms = delay.as_millis();
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}
