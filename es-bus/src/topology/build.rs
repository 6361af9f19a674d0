//! Groups and events → the topology that they need. Pure and deterministic.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    event::EventKind,
    message::Headers,
    model::{
        Binding, DeadLetter, DeadLetterStrategy, Exchange, ExchangeKind, Former, Overflow, Queue, QueueKind,
        Topology, delivers,
    },
    name::{ExchangeName, InvalidName, QueueName},
    topic,
    topology::{
        Exchanges, bound, dead_letters,
        group::{GroupSpec, delay_name},
        patience, strict,
    },
    wire,
};

/// After how many returns RabbitMQ may give a message up. Always sent, and never reached: unset it
/// means 20 on RabbitMQ 4, -1 means none on 3.10, and either loses messages.
const DELIVERY_LIMIT: u64 = 1_000_000;

/// What cannot stand in one topology.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// A name that AMQP does not carry.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Two exchanges of one name.
    #[error("exchange {name:?} is declared both as {one} and as {other}; rename one of them")]
    Exchange {
        /// The name.
        name: String,
        /// What one declaration says.
        one: &'static str,
        /// What the other says.
        other: &'static str,
    },
    /// Two queues of one name.
    #[error("queue {name:?} is both {one} and {other}; rename one of them")]
    Queue {
        /// The name.
        name: String,
        /// What one group takes it for.
        one: String,
        /// What another group takes it for.
        other: String,
    },
    /// A group that was renamed, and reads a stream.
    #[error(
        "group {group:?} reads a stream, and was {old:?}: a stream cannot be brought from one name to another. Let the \
         group keep its queue (`queue = {queue:?}`) and leave `formerly` out; or give it the name as a new group, which \
         reads from its `offset` on, and delete the stream of the old one when all of it was handled"
    )]
    RenamedStream {
        /// The group.
        group: String,
        /// The name that it had.
        old: String,
        /// The queue that it had by that name.
        queue: String,
    },
    /// Two groups that name one dead-letter exchange or queue, and say different things of it.
    #[error(
        "groups {one:?} and {other:?} share {what} {name:?} and differ in {differing}; let both say the same, or \
         give one of them a name of its own (`{key}`)"
    )]
    Shared {
        /// `the dead-letter exchange` or `the dead-letter queue`.
        what: &'static str,
        /// Its name.
        name: String,
        /// One group.
        one: String,
        /// The other.
        other: String,
        /// The settings that differ, with both values.
        differing: String,
        /// The setting that names it.
        key: &'static str,
    },
    /// Dead letters that no queue would take.
    #[error(
        "dead letters of group {group:?} have the key {key:?}, and {dlq:?} is bound to {dlx} by {bind:?}: they would \
         go nowhere; let `dlq_bind` match `dlq_key`"
    )]
    Nowhere {
        /// The group.
        group: String,
        /// The key of its dead letters.
        key: String,
        /// Its dead-letter queue.
        dlq: String,
        /// Its dead-letter exchange.
        dlx: String,
        /// What binds the queue.
        bind: String,
    },
    /// Dead letters that another group's queue would take as well.
    #[error(
        "dead letters of group {group:?} (key {key:?} on {dlx:?}) would also go to {other_dlq:?} of group {other:?}, \
         which is bound by {bind:?}; narrow that `dlq_bind`, or let both groups name one `dlq`"
    )]
    Leak {
        /// The group that fails.
        group: String,
        /// The key of its dead letters.
        key: String,
        /// The exchange of both.
        dlx: String,
        /// The other group.
        other: String,
        /// Its dead-letter queue.
        other_dlq: String,
        /// What binds it.
        bind: String,
    },
    /// Attempts in place that take longer than the broker waits.
    #[error(
        "group {group:?} has ordering = \"strict\", and its handler {handler:?} may keep an event for {runs} of runs \
         and {pauses} of pauses, more than the {limit} that RabbitMQ leaves it; lower `timeout`, `retries` or \
         `backoff`"
    )]
    TooLong {
        /// The group.
        group: String,
        /// The handler.
        handler: String,
        /// How many runs, and how long each may take.
        runs: String,
        /// How long the pauses between them are together.
        pauses: String,
        /// How long an event may be kept.
        limit: String,
    },
    /// One run takes longer than the broker waits for an acknowledgement.
    #[error(
        "the handler {handler:?} of group {group:?} may run for {timeout}, more than the {limit} that RabbitMQ leaves it; \
         lower `timeout`, or raise `consumer_timeout`, here and on the broker"
    )]
    Unfinishable {
        /// The group.
        group: String,
        /// The handler.
        handler: String,
        /// How long one run may take.
        timeout: String,
        /// How long an event may be kept.
        limit: String,
    },
    /// Dead letters that come back to be handled.
    #[error(
        "dead letters of group {group:?} (key {key:?} on {dlx:?}) would come to queue {queue:?}, {whose}: they would be \
         handled again, and never be kept; name another `dlx`"
    )]
    Returns {
        /// The group that fails.
        group: String,
        /// The key of its dead letters.
        key: String,
        /// Its dead-letter exchange.
        dlx: String,
        /// The queue that takes them as well.
        queue: String,
        /// What that queue is.
        whose: String,
    },
    /// Dead letters among the events.
    #[error(
        "group {group:?} dead-letters to {exchange:?}, to which events are published: groups that are bound there \
         would take its dead letters for events; name another `dlx`"
    )]
    Among {
        /// The group.
        group: String,
        /// The exchange.
        exchange: String,
    },
}

/// The topology that groups consume from and events are published to.
///
/// Bindings stand in the order in which they have to be made: dead letters and retries lead
/// somewhere before the first event can come.
///
/// # Errors
///
/// Everything that cannot stand in one topology.
pub(crate) fn build<G: Borrow<GroupSpec>>(
    groups: &[G],
    published: &[EventKind],
    exchanges: &Exchanges,
) -> Result<Topology, Vec<Conflict>> {
    let groups: Vec<&GroupSpec> = groups.iter().map(Borrow::borrow).collect();
    let one_queue = same_queues(&groups);
    if !one_queue.is_empty() {
        // All that is named after the queue would contradict itself too.
        return Err(one_queue);
    }
    let mut builder = Builder {
        topology: Topology::new(),
        conflicts: Vec::new(),
        exchanges,
        owners: BTreeMap::new(),
        event_exchanges: BTreeSet::new(),
        dead_letter_exchanges: BTreeSet::new(),
        dead_letter_queues: BTreeSet::new(),
    };
    for name in exchanges.declared() {
        builder.event_exchange(name);
    }
    for kind in published {
        builder.event_exchange(exchanges.of(kind));
    }
    if published.is_empty() && groups.is_empty() {
        builder.event_exchange(exchanges.default().as_str());
    }
    for group in &groups {
        builder.dead_letters(group);
    }
    for group in &groups {
        builder.retries(group);
    }
    for group in &groups {
        builder.work(group);
    }
    for group in &groups {
        builder.retired(group, published);
        builder.formers(group);
    }
    builder.sources();
    builder.conflicts.extend(groups.iter().flat_map(|group| strict::check(group)));
    builder.conflicts.extend(groups.iter().flat_map(|group| patience::check(group)));
    let conflicts = dead_letters::check(&groups, &builder.event_exchanges);
    for conflict in conflicts {
        if let Conflict::Among { exchange, .. } = &conflict {
            // That their kinds differ as well says nothing more.
            let is_same =
                |other: &Conflict| matches!(other, Conflict::Exchange { name, .. } if name == exchange);
            builder.conflicts.retain(|other| !is_same(other));
        }
        builder.conflicts.push(conflict);
    }
    builder.returns(&groups);
    if builder.conflicts.is_empty() { Ok(builder.topology) } else { Err(builder.conflicts) }
}

struct Builder<'a> {
    topology: Topology,
    conflicts: Vec<Conflict>,
    exchanges: &'a Exchanges,
    /// Whose each queue is.
    owners: BTreeMap<String, String>,
    /// The exchanges that events are published to.
    event_exchanges: BTreeSet<String>,
    /// The exchanges that dead letters are published to.
    dead_letter_exchanges: BTreeSet<String>,
    /// The queues that they end in.
    dead_letter_queues: BTreeSet<String>,
}

impl Builder<'_> {
    fn exchange(&mut self, exchange: Exchange) {
        let (name, kind) = (exchange.name.clone(), exchange.kind);
        if let Err(there) = self.topology.add_exchange(exchange) {
            self.conflicts.push(Conflict::Exchange {
                name: name.as_str().to_owned(),
                one: there.kind.as_str(),
                other: kind.as_str(),
            });
        }
    }

    fn event_exchange(&mut self, name: &str) {
        self.event_exchanges.insert(name.to_owned());
        match self.exchanges.exchange(name) {
            Ok(exchange) => self.exchange(exchange),
            Err(invalid) => self.conflicts.push(invalid.into()),
        }
    }

    /// Adds a queue, which nobody else may have; `whose` says what it is to its group.
    fn queue(&mut self, queue: Queue, whose: String) {
        let name = queue.name.as_str().to_owned();
        if let Some(other) = self.owners.get(&name) {
            self.conflicts.push(Conflict::Queue { name, one: other.clone(), other: whose });
        } else if self.topology.add_queue(queue).is_ok() {
            self.owners.insert(name, whose);
        }
    }

    fn dead_letters(&mut self, group: &GroupSpec) {
        if !group.keeps_dead_letters() {
            return;
        }
        // Of groups that share them, the first declares them; that all agree is checked apart.
        let by_name = !group.dlx.as_str().is_empty();
        if by_name && self.dead_letter_exchanges.insert(group.dlx.as_str().to_owned()) {
            self.exchange(Exchange::durable(group.dlx.clone(), group.settings.dlx_kind.exchange_kind()));
        }
        if self.dead_letter_queues.insert(group.dlq.as_str().to_owned()) {
            let whose = format!("the dead-letter queue of group {:?}", group.name.as_str());
            self.queue(dead_letters::queue(group), whose);
        }
        if by_name {
            self.topology.add_binding(Binding::by_key(
                group.dlx.clone(),
                group.dlq.clone(),
                &*group.dlq_bind,
            ));
        }
    }

    fn retries(&mut self, group: &GroupSpec) {
        if group.is_exclusive() {
            return;
        }
        let durable = group.settings.durable;
        self.exchange(Exchange { durable, ..Exchange::durable(group.entry.clone(), ExchangeKind::Fanout) });
        self.exchange(Exchange { durable, ..Exchange::durable(group.retry.clone(), ExchangeKind::Headers) });
        for delay in group.delays() {
            let name = match group.retry_queue(delay) {
                Ok(name) => name,
                Err(invalid) => {
                    self.conflicts.push(invalid.into());
                    continue;
                }
            };
            let dead_letter =
                |strategy| Some(DeadLetter { exchange: group.entry.clone(), routing_key: None, strategy });
            let queue = if durable {
                Queue {
                    dead_letter: dead_letter(DeadLetterStrategy::AtLeastOnce),
                    overflow: Some(Overflow::RejectPublish),
                    delivery_limit: Some(DELIVERY_LIMIT),
                    ..Queue::durable(name.clone(), QueueKind::Quorum)
                }
            } else {
                Queue {
                    durable,
                    dead_letter: dead_letter(DeadLetterStrategy::AtMostOnce),
                    ..Queue::durable(name.clone(), QueueKind::Classic)
                }
            };
            self.queue(queue, format!("a retry queue of group {:?}", group.name.as_str()));
            self.topology.add_binding(selected(group, name, &delay_name(delay)));
        }
        match group.suspects() {
            Some(Ok(name)) => {
                self.topology.add_binding(selected(group, name.clone(), wire::names::DELAY_SUSPECTS));
                self.queue(
                    suspects_queue(group, name),
                    format!("the queue of suspects of group {:?}", group.name.as_str()),
                );
            }
            Some(Err(invalid)) => self.conflicts.push(invalid.into()),
            None => {}
        }
    }

    fn work(&mut self, group: &GroupSpec) {
        self.event_exchange(group.settings.home.as_str());
        self.queue(work_queue(group), format!("the queue of group {:?}", group.name.as_str()));
        if !group.is_exclusive() {
            self.topology.add_binding(Binding::by_key(group.entry.clone(), group.queue.clone(), ""));
        }
        for kind in group.handlers.iter().flat_map(|handler| &handler.emits) {
            self.event_exchange(kind.exchange.unwrap_or(self.exchanges.default().as_str()));
        }
        self.stream(group);
        let late = group.bound.iter().filter(|late| late.holds).map(|late| &late.bound);
        for bound in group.bindings().into_iter().chain(late) {
            self.event_exchange(bound.exchange.as_str());
            self.topology.add_binding(group.binding(bound));
            if group.stream.is_some() {
                // Of the time when the group had no stream yet: each event would come twice.
                self.topology.add_unbound(bound.of(&group.queue, group.settings.weight));
            }
        }
    }

    /// What the group had under other names, where its queue was named after them. One that each process has for
    /// itself goes with it.
    fn formers(&mut self, group: &GroupSpec) {
        let renamed = group.formerly.iter().filter(|old| old.queue != group.queue && !group.is_exclusive());
        for old in renamed {
            if group.stream.is_some() {
                self.conflicts.push(Conflict::RenamedStream {
                    group: group.name.as_str().to_owned(),
                    old: old.name.to_owned(),
                    queue: old.queue.as_str().to_owned(),
                });
                continue;
            }
            self.topology.add_former(Former {
                queue: group.queue.clone(),
                dlq: group.keeps_dead_letters().then(|| group.dlq.clone()),
                old: old.queue.clone(),
                old_dlq: old.dlq.clone(),
            });
        }
    }

    /// The stream that events come to, and the queue in which stands how far it was read.
    fn stream(&mut self, group: &GroupSpec) {
        let (Some(names), Some(settings)) = (&group.stream, &group.settings.stream) else { return };
        let stream = Queue {
            max_age: settings.max_age,
            max_length_bytes: settings.max_length_bytes,
            arguments: settings.arguments.to_headers(),
            ..Queue::durable(names.stream.clone(), QueueKind::Stream)
        };
        self.queue(stream, format!("the stream of group {:?}", group.name.as_str()));
        let position = Queue {
            single_active_consumer: true,
            delivery_limit: delivery_limit(group.settings.kind),
            ..Queue::durable(names.position.clone(), group.settings.kind)
        };
        self.queue(position, format!("the position of group {:?}", group.name.as_str()));
        self.topology.add_binding(selected(group, names.position.clone(), wire::names::DELAY_POSITION));
    }

    /// Binds exchanges to those that they get messages from, whatever those are to the program.
    fn sources(&mut self) {
        for (destination, def) in self.exchanges.sources() {
            let declared = self.topology.exchange(def.exchange.name).cloned();
            let source = declared.map_or_else(|| self.exchanges.exchange(def.exchange.name), Ok);
            let source = match (source, ExchangeName::new(destination)) {
                (Ok(source), Ok(destination)) => {
                    for binding in bound::given(&source, &destination, def) {
                        self.topology.add_exchange_binding(binding);
                    }
                    source
                }
                (Err(invalid), _) | (_, Err(invalid)) => {
                    self.conflicts.push(invalid.into());
                    continue;
                }
            };
            self.exchange(source);
        }
    }

    /// Dead letters that come to a queue from which events are handled. Those among the events have been told of.
    fn returns(&mut self, groups: &[&GroupSpec]) {
        for group in groups.iter().filter(|group| group.keeps_dead_letters()) {
            if self.event_exchanges.contains(group.dlx.as_str()) {
                continue;
            }
            let none = Headers::new();
            let stops = self.topology.spread(group.dlx.as_str(), |exchange, key, arguments| {
                delivers(exchange.kind, (key, arguments), (&group.dlq_key, &none))
            });
            let taking = stops.iter().flat_map(|stop| &stop.bindings);
            let queues: BTreeSet<&str> = taking.map(|binding| binding.queue.as_str()).collect();
            let handled = queues.into_iter().filter(|queue| !self.dead_letter_queues.contains(*queue));
            self.conflicts.extend(handled.map(|queue| Conflict::Returns {
                group: group.name.as_str().to_owned(),
                key: group.dlq_key.clone(),
                dlx: group.dlx.as_str().to_owned(),
                queue: queue.to_owned(),
                whose: self.owners.get(queue).cloned().unwrap_or_else(|| "a queue".to_owned()),
            }));
        }
    }

    /// Takes back the bindings of events that the group gave up, wherever they may have been made.
    fn retired(&mut self, group: &GroupSpec, published: &[EventKind]) {
        for key in &group.settings.retired {
            let of_events = || published.iter().filter(|kind| topic::matches(key, kind.key));
            let exchanges: BTreeSet<&str> = of_events()
                .filter_map(|kind| kind.exchange)
                .chain([group.settings.home.as_str(), self.exchanges.default().as_str()])
                .collect();
            for name in exchanges {
                if let Some(exchange) = self.topology.exchange(name).map(|exchange| exchange.name.clone()) {
                    let queue = group.bound_queue().clone();
                    self.topology.add_unbound(Binding::by_key(exchange, queue, key.clone()));
                }
            }
            // Where the exchange does not look at keys, the binding was made without one.
            for kind in of_events() {
                let own = bound(None, Some(std::slice::from_ref(kind)), &group.settings.home, self.exchanges);
                for bound in own.unwrap_or_default() {
                    if self.topology.exchange(bound.exchange.as_str()).is_some() {
                        self.topology.add_unbound(group.binding(&bound));
                    }
                }
            }
        }
    }
}

/// Groups whose queues have one name.
fn same_queues(groups: &[&GroupSpec]) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        if let Some(other) = groups[..index].iter().find(|other| other.queue == group.queue) {
            conflicts.push(Conflict::Queue {
                name: group.queue.as_str().to_owned(),
                one: format!("the queue of group {:?}", other.name.as_str()),
                other: format!("the queue of group {:?}", group.name.as_str()),
            });
        }
    }
    conflicts
}

/// The queue that a group consumes.
fn work_queue(group: &GroupSpec) -> Queue {
    let settings = &group.settings;
    // At-least-once dead-lettering holds only where a full queue refuses publishes.
    let keeps = settings.kind == QueueKind::Quorum
        && settings.overflow == Overflow::RejectPublish
        && group.keeps_dead_letters();
    let has_limit = settings.max_length.is_some() || settings.max_length_bytes.is_some();
    Queue {
        durable: settings.durable && !group.is_exclusive(),
        exclusive: group.is_exclusive(),
        auto_delete: settings.auto_delete,
        dead_letter: group.keeps_dead_letters().then(|| DeadLetter {
            exchange: group.dlx.clone(),
            routing_key: Some(group.dlq_key.clone()),
            strategy: if keeps { DeadLetterStrategy::AtLeastOnce } else { DeadLetterStrategy::AtMostOnce },
        }),
        message_ttl: settings.message_ttl,
        expires: settings.expires,
        max_length: settings.max_length,
        max_length_bytes: settings.max_length_bytes,
        overflow: (keeps || has_limit).then_some(settings.overflow),
        delivery_limit: delivery_limit(settings.kind),
        max_priority: settings.max_priority,
        single_active_consumer: settings.single_active_consumer,
        untyped: group.is_shared_with_eventsource(),
        arguments: settings.arguments.to_headers(),
        limits_in: settings.limits_in,
        ..Queue::durable(group.queue.clone(), settings.kind)
    }
}

/// The queue from which events are handled alone: as safe as the one that they come from, without what
/// limits that one.
fn suspects_queue(group: &GroupSpec, name: QueueName) -> Queue {
    Queue {
        name,
        message_ttl: None,
        max_length: None,
        max_length_bytes: None,
        max_priority: None,
        untyped: false,
        arguments: Headers::new(),
        ..work_queue(group)
    }
}

/// The binding of a queue that the headers exchange of retries picks.
pub(crate) fn selected(group: &GroupSpec, queue: QueueName, delay: &str) -> Binding {
    let mut selector: Headers = [(wire::names::ES_DELAY, delay.to_owned())].into_iter().collect();
    selector.insert("x-match", "all");
    Binding { source: group.retry.clone(), queue, key: String::new(), arguments: selector }
}

pub(super) fn delivery_limit(kind: QueueKind) -> Option<u64> {
    (kind == QueueKind::Quorum).then_some(DELIVERY_LIMIT)
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write, time::Duration};

    use super::*;
    use crate::{
        exchange::ExchangeDef,
        location::Location,
        message::{StaticValue, Value},
        model::{
            Arguments, StreamOffset,
            policy::{Compat, DlxKind, OnExhausted},
        },
        name::ExchangeName,
        topology::StreamSettings,
        topology::fixtures::{PLACED, SHIPPED, exchanges, group, group_with, handler, named_with},
    };

    /// A topology as text, as a person would list it.
    fn text(topology: &Topology) -> String {
        let mut text = String::new();
        for exchange in topology.exchanges() {
            let _ = writeln!(text, "exchange {} {}", exchange.name, exchange.kind.as_str());
        }
        for queue in topology.queues() {
            let _ = writeln!(text, "queue {}", queue.name);
            for (name, value) in queue.argument_table().iter() {
                let value = value.as_str().map_or_else(|| format!("{:?}", value.as_int()), str::to_owned);
                let _ = writeln!(text, "  {name} = {value}");
            }
        }
        for binding in topology.bindings() {
            let selector = binding.arguments.get_str(wire::names::ES_DELAY).unwrap_or(&binding.key);
            let _ = writeln!(text, "bind {} -> {} by {selector:?}", binding.source, binding.queue);
        }
        text
    }

    #[test]
    fn a_group_has_its_queue_its_dead_letters_and_its_retries() {
        let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];

        let topology = build(&[group(handlers)], &[PLACED, SHIPPED], &exchanges()).unwrap();

        insta::assert_snapshot!(text(&topology));
    }

    #[test]
    fn the_events_of_a_group_with_a_stream_come_to_that_alone() {
        let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];
        let group = group_with(handlers, |settings| {
            settings.stream = Some(StreamSettings {
                offset: StreamOffset::First,
                max_age: Some(Duration::from_secs(7200)),
                max_length_bytes: Some(1000),
                arguments: Arguments::default(),
            });
        });

        let topology = build(&[group], &[], &exchanges()).unwrap();

        let bound: Vec<&str> = topology
            .bindings()
            .filter(|binding| binding.source.as_str() == "events")
            .map(|binding| binding.queue.as_str())
            .collect();
        assert_eq!(bound, ["events.projections.stream"]);
        // It may have been bound before the group had a stream.
        let unbound: Vec<&str> = topology.unbound().map(|binding| binding.queue.as_str()).collect();
        assert_eq!(unbound, ["events.projections"]);
        let stream = topology.queue("events.projections.stream").unwrap();
        let table = stream.argument_table();
        let arguments: Vec<&str> = table.iter().map(|(name, _)| name).collect();
        assert_eq!(arguments, ["x-max-age", "x-max-length-bytes", "x-queue-type"]);
        assert_eq!(table.get_str("x-max-age"), Some("7200s"));
        assert!(topology.queue("events.projections.position").unwrap().single_active_consumer);
        assert_eq!(topology.queue("events.projections").unwrap().kind, QueueKind::Quorum);
    }

    #[test]
    fn nothing_points_at_something_that_is_missing() {
        let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];
        let topology = build(&[group(handlers)], &[], &exchanges()).unwrap();

        for binding in topology.bindings() {
            assert!(topology.exchange(binding.source.as_str()).is_some(), "{binding:?}");
            assert!(topology.queue(binding.queue.as_str()).is_some(), "{binding:?}");
        }
        for queue in topology.queues() {
            let target = queue.dead_letter.as_ref().map(|dead| dead.exchange.as_str());
            assert!(target.is_none_or(|name| topology.exchange(name).is_some()), "{queue:?}");
        }
        let sources: Vec<_> = topology.bindings().map(|binding| binding.source.as_str()).collect();
        assert_eq!(sources.first(), Some(&"events_dlq"), "dead letters lead somewhere first");
        assert_eq!(sources.last(), Some(&"events"), "events flow last");
    }

    #[test]
    fn binds_a_typed_handler_where_its_events_live_and_a_raw_one_at_home() {
        const AWAY: EventKind = PLACED.exchange("shop");
        let handlers =
            vec![handler("typed", &["Order.OrderPlaced"], Some(&[AWAY])), handler("raw", &["#"], None)];

        let topology = build(&[group(handlers)], &[], &exchanges()).unwrap();

        let last: Vec<_> = topology
            .bindings()
            .filter(|binding| matches!(binding.source.as_str(), "shop" | "events"))
            .map(|binding| (binding.source.as_str(), binding.key.as_str()))
            .collect();
        assert_eq!(last, [("events", "#"), ("shop", "Order.OrderPlaced")]);
    }

    #[test]
    fn a_rung_that_equals_a_policys_delay_is_the_same_queue() {
        let mut project = handler("project", &["Order.*"], Some(&[PLACED]));
        project.policy.base = Duration::from_secs(30);
        project.policy.retries = 1;

        let delays = group(vec![project]).delays();

        assert_eq!(delays, [Duration::from_secs(30), Duration::from_secs(300)]);
    }

    #[test]
    fn drop_head_gives_up_at_least_once() {
        let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];
        let lossy = group_with(handlers, |settings| {
            settings.max_length = Some(10);
            settings.overflow = Overflow::DropHead;
        });

        let topology = build(&[lossy], &[], &exchanges()).unwrap();

        let table = topology.queue("events.projections").unwrap().argument_table();
        assert_eq!(table.get_str("x-overflow"), Some("drop-head"));
        assert_eq!(table.get("x-dead-letter-strategy"), None);
        assert_eq!(table.get("x-max-length"), Some(&Value::I64(10)));
    }

    #[test]
    fn groups_with_shared_dead_letters_declare_them_once_and_bind_both() {
        let shared = |name: &str| {
            let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];
            named_with(name, handlers, |settings| {
                settings.dlx = "dlx.events".parse().unwrap();
                settings.dlx_kind = DlxKind::Topic;
                settings.dlq = "dlq.events".parse().unwrap();
                settings.dlq_key = Some("{queue}.dead".parse().unwrap());
            })
        };

        let topology = build(&[shared("stock"), shared("billing")], &[], &exchanges()).unwrap();

        let bound: Vec<_> = topology
            .bindings()
            .filter(|binding| binding.source.as_str() == "dlx.events")
            .map(|binding| (binding.queue.as_str(), binding.key.as_str()))
            .collect();
        assert_eq!(bound, [("dlq.events", "events.stock.dead"), ("dlq.events", "events.billing.dead")]);
        assert_eq!(topology.exchange("dlx.events").unwrap().kind, ExchangeKind::Topic);
        let table = topology.queue("events.stock").unwrap().argument_table();
        assert_eq!(table.get_str("x-dead-letter-exchange"), Some("dlx.events"));
        assert_eq!(table.get_str("x-dead-letter-routing-key"), Some("events.stock.dead"));
    }

    #[test]
    fn two_groups_cannot_have_one_queue() {
        let named = |name: &str, queue: &str| {
            let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];
            named_with(name, handlers, |settings| settings.queue = queue.parse().unwrap())
        };

        let twice =
            build(&[named("a", "all_orders"), named("b", "all_orders")], &[], &exchanges()).unwrap_err();
        let dead = build(&[named("a", "orders"), named("b", "orders.dlq")], &[], &exchanges()).unwrap_err();

        let text = twice[0].to_string();
        assert!(text.contains("the queue of group \"a\" and the queue of group \"b\""), "{text}");
        let text = dead[0].to_string();
        assert!(text.contains("the dead-letter queue of group \"a\" and the queue of group \"b\""), "{text}");
    }

    #[test]
    fn a_queue_shared_with_eventsource_has_its_arguments_and_no_others() {
        let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];
        let shared = group_with(handlers, |settings| {
            settings.compat = Some(Compat::Eventsource);
            settings.kind = QueueKind::Classic;
            settings.dlq_kind = QueueKind::Classic;
            settings.dlq_max_length = Some(10);
        });

        let topology = build(&[shared], &[], &exchanges()).unwrap();

        let names = |queue: &str| -> Vec<String> {
            let table = topology.queue(queue).unwrap().argument_table();
            table.iter().map(|(name, _)| name.to_owned()).collect()
        };
        assert_eq!(names("events.projections"), ["x-dead-letter-exchange", "x-dead-letter-routing-key"]);
        assert_eq!(names("events.projections.dlq"), ["x-max-length"]);
        assert!(topology.queue("events.projections.retry.1s").is_some());
    }

    #[test]
    fn an_exclusive_group_has_its_own_queue_and_nothing_else() {
        let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];
        let exclusive = group_with(handlers, |settings| {
            settings.exclusive = Some("0badcafe".to_owned());
            settings.kind = QueueKind::Classic;
        });

        let topology = build(&[exclusive], &[], &exchanges()).unwrap();

        assert_eq!(
            text(&topology),
            "exchange events topic\nqueue events.projections.0badcafe\n  x-queue-type = classic\n\
             bind events -> events.projections.0badcafe by \"Order.*\"\n"
        );
        let queue = topology.queue("events.projections.0badcafe").unwrap();
        assert!(queue.exclusive && !queue.durable);
    }

    #[test]
    fn queues_that_need_not_outlive_the_broker_have_nothing_that_does() {
        let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];
        let passing = group_with(handlers, |settings| {
            settings.kind = QueueKind::Classic;
            settings.dlq_kind = QueueKind::Classic;
            settings.durable = false;
        });

        let topology = build(&[passing], &[], &exchanges()).unwrap();

        assert!(topology.queues().all(|queue| !queue.durable && queue.kind == QueueKind::Classic));
    }

    #[test]
    fn a_group_that_drops_has_no_dead_letter_queue() {
        let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];
        let dropping = group_with(handlers, |settings| settings.on_exhausted = OnExhausted::Drop);

        let topology = build(&[dropping], &[], &exchanges()).unwrap();

        assert!(topology.queue("events.projections.dlq").is_none());
        let table = topology.queue("events.projections").unwrap().argument_table();
        assert_eq!(table.get("x-dead-letter-exchange"), None);
        assert_eq!(table.get("x-dead-letter-strategy"), None);
    }

    #[test]
    fn a_publisher_declares_only_what_it_publishes_to() {
        const AWAY: EventKind = SHIPPED.exchange("shop");

        let topology = build::<GroupSpec>(&[], &[PLACED, AWAY], &exchanges()).unwrap();

        assert_eq!(text(&topology), "exchange events topic\nexchange shop topic\n");
    }

    #[test]
    fn a_retired_event_is_unbound_unless_a_handler_binds_it_after_all() {
        const AWAY: EventKind = SHIPPED.exchange("shop");
        let handlers = vec![handler("project", &["Order.OrderPlaced"], Some(&[PLACED]))];
        let retired = group_with(handlers, |settings| {
            settings.retired = vec!["Order.OrderShipped".to_owned(), "Order.OrderPlaced".to_owned()];
        });

        let topology = build(&[retired], &[PLACED, AWAY], &exchanges()).unwrap();

        let unbound: Vec<_> =
            topology.unbound().map(|binding| (binding.source.as_str(), binding.key.as_str())).collect();
        assert_eq!(unbound, [("events", "Order.OrderShipped"), ("shop", "Order.OrderShipped")]);
    }

    #[test]
    fn a_retired_event_is_unbound_as_its_exchange_had_bound_it() {
        const REPORTS: ExchangeDef = ExchangeDef {
            bus: "default",
            name: "reports",
            kind: ExchangeKind::Headers,
            durable: true,
            auto_delete: false,
            internal: false,
            alternate: None,
            sources: &[],
            arguments: &[],
            location: Location { module: "tests", file: "tests.rs", line: 1 },
        };
        const GONE: EventKind = SHIPPED.on(&REPORTS).headers(&[("format", StaticValue::Str("pdf"))]);
        let handlers = vec![handler("project", &["Order.OrderPlaced"], Some(&[PLACED]))];
        let retired =
            group_with(handlers, |settings| settings.retired = vec!["Order.OrderShipped".to_owned()]);
        let exchanges =
            Exchanges::new(ExchangeName::new("events").unwrap(), ExchangeKind::Topic, &[&REPORTS]);

        let topology = build(&[retired], &[PLACED, GONE], &exchanges).unwrap();

        let unbound = topology.unbound().find(|binding| binding.arguments.get("format").is_some()).unwrap();
        assert_eq!((unbound.source.as_str(), unbound.key.as_str()), ("reports", ""));
        assert_eq!(unbound.arguments.get_str("x-match"), Some("all"));
    }

    #[test]
    fn two_uses_of_one_exchange_that_contradict_are_told_together() {
        const CLASH: EventKind = PLACED.exchange("events_dlq");
        const OTHER: EventKind = SHIPPED.exchange("events.projections.in");
        let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];

        let conflicts = build(&[group(handlers)], &[CLASH, OTHER], &exchanges()).unwrap_err();

        let names: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names[0].contains("events.projections.in") && names[0].contains("topic"), "{names:?}");
        assert!(names[1].contains("events_dlq") && names[1].contains("dead letters for events"), "{names:?}");
    }
}
