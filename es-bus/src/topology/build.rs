//! Groups and events → the topology that they need. Pure and deterministic.

use crate::{
    event::EventKind,
    message::Headers,
    model::{
        Binding, DeadLetter, DeadLetterStrategy, Exchange, ExchangeKind, Overflow, Queue, QueueKind, Topology,
    },
    name::{ExchangeName, InvalidName},
    topology::group::{GroupSpec, delay_name},
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
pub fn build(
    groups: &[GroupSpec],
    published: &[EventKind],
    default_exchange: &ExchangeName,
) -> Result<Topology, Vec<Conflict>> {
    let mut builder = Builder { topology: Topology::new(), conflicts: Vec::new() };
    for kind in published {
        builder.event_exchange(kind.exchange.unwrap_or(default_exchange.as_str()));
    }
    if published.is_empty() && groups.is_empty() {
        builder.event_exchange(default_exchange.as_str());
    }
    for group in groups {
        builder.dead_letters(group);
    }
    for group in groups {
        builder.retries(group);
    }
    for group in groups {
        builder.work(group, default_exchange);
    }
    if builder.conflicts.is_empty() { Ok(builder.topology) } else { Err(builder.conflicts) }
}

struct Builder {
    topology: Topology,
    conflicts: Vec<Conflict>,
}

impl Builder {
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
        match ExchangeName::new(name) {
            Ok(name) => self.exchange(Exchange::durable(name, ExchangeKind::Topic)),
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

    fn work(&mut self, group: &GroupSpec, default_exchange: &ExchangeName) {
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
        for (exchange, key) in group.bindings(default_exchange.as_str()) {
            self.event_exchange(&exchange);
            if let Ok(exchange) = ExchangeName::new(&exchange) {
                self.topology.add_binding(Binding::by_key(exchange, group.queue.clone(), key));
            }
        }
    }
}

fn delivery_limit(kind: QueueKind) -> Option<u64> {
    (kind == QueueKind::Quorum).then_some(DELIVERY_LIMIT)
}
