//! Groups and events → the topology that they need. Pure and deterministic.

use std::{borrow::Borrow, collections::BTreeSet};

use crate::{
    event::EventKind,
    message::Headers,
    model::{
        Binding, DeadLetter, DeadLetterStrategy, Exchange, ExchangeKind, Overflow, Queue, QueueKind, Topology,
    },
    name::InvalidName,
    topic,
    topology::{
        Exchanges, bound,
        group::{GroupSpec, delay_name},
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
    #[error("queue {name:?} belongs to two groups; rename one of them")]
    Queue {
        /// The name.
        name: String,
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
    let mut builder = Builder { topology: Topology::new(), conflicts: Vec::new(), exchanges };
    for name in exchanges.declared() {
        builder.event_exchange(name);
    }
    for kind in published {
        builder.event_exchange(exchanges.of(kind));
    }
    if published.is_empty() && groups.is_empty() {
        builder.event_exchange(exchanges.default().as_str());
    }
    for group in groups.iter().map(Borrow::borrow) {
        builder.dead_letters(group);
    }
    for group in groups.iter().map(Borrow::borrow) {
        builder.retries(group);
    }
    for group in groups.iter().map(Borrow::borrow) {
        builder.work(group);
    }
    for group in groups.iter().map(Borrow::borrow) {
        builder.retired(group, published);
    }
    if builder.conflicts.is_empty() { Ok(builder.topology) } else { Err(builder.conflicts) }
}

struct Builder<'a> {
    topology: Topology,
    conflicts: Vec<Conflict>,
    exchanges: &'a Exchanges,
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
        match self.exchanges.exchange(name) {
            Ok(exchange) => self.exchange(exchange),
            Err(invalid) => self.conflicts.push(invalid.into()),
        }
    }

    fn queue(&mut self, queue: Queue) {
        if let Err(there) = self.topology.add_queue(queue) {
            self.conflicts.push(Conflict::Queue { name: there.name.as_str().to_owned() });
        }
    }

    fn dead_letters(&mut self, group: &GroupSpec) {
        let settings = &group.settings;
        self.exchange(Exchange::durable(group.dlx.clone(), ExchangeKind::Direct));
        self.queue(Queue {
            message_ttl: settings.dlq_ttl,
            max_length: settings.dlq_max_length,
            // Dropping the oldest dead letter would lose it; a full queue keeps the event where it failed.
            overflow: settings.dlq_max_length.map(|_| Overflow::RejectPublish),
            delivery_limit: delivery_limit(settings.kind),
            ..Queue::durable(group.dlq.clone(), settings.kind)
        });
        self.topology.add_binding(Binding::by_key(
            group.dlx.clone(),
            group.dlq.clone(),
            group.queue.as_str(),
        ));
    }

    fn retries(&mut self, group: &GroupSpec) {
        self.exchange(Exchange::durable(group.entry.clone(), ExchangeKind::Fanout));
        self.exchange(Exchange::durable(group.retry.clone(), ExchangeKind::Headers));
        for delay in group.delays() {
            let name = match group.retry_queue(delay) {
                Ok(name) => name,
                Err(invalid) => {
                    self.conflicts.push(invalid.into());
                    continue;
                }
            };
            self.queue(Queue {
                dead_letter: Some(DeadLetter {
                    exchange: group.entry.clone(),
                    routing_key: None,
                    strategy: DeadLetterStrategy::AtLeastOnce,
                }),
                overflow: Some(Overflow::RejectPublish),
                delivery_limit: Some(DELIVERY_LIMIT),
                ..Queue::durable(name.clone(), QueueKind::Quorum)
            });
            let mut selector: Headers = [(wire::names::ES_DELAY, delay_name(delay))].into_iter().collect();
            selector.insert("x-match", "all");
            self.topology.add_binding(Binding {
                source: group.retry.clone(),
                queue: name,
                key: String::new(),
                arguments: selector,
            });
        }
    }

    fn work(&mut self, group: &GroupSpec) {
        let settings = &group.settings;
        self.event_exchange(settings.home.as_str());
        // At-least-once dead-lettering holds only where a full queue refuses publishes.
        let keeps = settings.kind == QueueKind::Quorum && settings.overflow == Overflow::RejectPublish;
        let has_limit = settings.max_length.is_some() || settings.max_length_bytes.is_some();
        self.queue(Queue {
            dead_letter: Some(DeadLetter {
                exchange: group.dlx.clone(),
                routing_key: Some(group.queue.as_str().to_owned()),
                strategy: if keeps {
                    DeadLetterStrategy::AtLeastOnce
                } else {
                    DeadLetterStrategy::AtMostOnce
                },
            }),
            message_ttl: settings.message_ttl,
            max_length: settings.max_length,
            max_length_bytes: settings.max_length_bytes,
            overflow: (keeps || has_limit).then_some(settings.overflow),
            delivery_limit: delivery_limit(settings.kind),
            ..Queue::durable(group.queue.clone(), settings.kind)
        });
        self.topology.add_binding(Binding::by_key(group.entry.clone(), group.queue.clone(), ""));
        for kind in group.handlers.iter().flat_map(|handler| &handler.emits) {
            self.event_exchange(kind.exchange.unwrap_or(self.exchanges.default().as_str()));
        }
        for bound in group.bindings() {
            self.event_exchange(bound.exchange.as_str());
            self.topology.add_binding(bound.of(&group.queue));
        }
        for late in group.bound.iter().filter(|late| late.holds) {
            self.event_exchange(late.bound.exchange.as_str());
            self.topology.add_binding(late.bound.of(&group.queue));
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
                    self.topology.add_unbound(Binding::by_key(exchange, group.queue.clone(), key.clone()));
                }
            }
            // Where the exchange does not look at keys, the binding was made without one.
            for kind in of_events() {
                let own = bound(None, Some(std::slice::from_ref(kind)), &group.settings.home, self.exchanges);
                for bound in own.unwrap_or_default() {
                    if self.topology.exchange(bound.exchange.as_str()).is_some() {
                        self.topology.add_unbound(bound.of(&group.queue));
                    }
                }
            }
        }
    }
}

fn delivery_limit(kind: QueueKind) -> Option<u64> {
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
        name::ExchangeName,
        topology::fixtures::{PLACED, SHIPPED, exchanges, group, group_with, handler},
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
        assert!(names[0].contains("events_dlq") && names[0].contains("direct"), "{names:?}");
        assert!(names[1].contains("events.projections.in"), "{names:?}");
    }
}
