//! A checked program as a lock.

use super::{
    Arguments, Lock, LockedBinding, LockedEvent, LockedExchange, LockedGroup, LockedHandler, LockedQueue,
    text::FORMAT,
};
use crate::{
    bus::Bus,
    event::PayloadStyle,
    message::{Headers, Value},
    model::{Binding, Topology},
    schema::{fields, schema_of},
};

impl Lock {
    /// What a program declares now.
    #[must_use]
    pub fn of(bus: &Bus) -> Self {
        let topology = bus.topology();
        let exchanges = topology.exchanges().map(|it| {
            let exchange = LockedExchange {
                kind: it.kind.as_str().to_owned(),
                durable: it.durable,
                auto_delete: it.auto_delete,
                internal: it.internal,
                arguments: arguments(&it.arguments),
                from: from(topology, it.name.as_str()),
            };
            (it.name.to_string(), exchange)
        });
        let queues = topology.queues().map(|it| {
            let own = |all: &mut dyn Iterator<Item = &Binding>| {
                let mut own: Vec<_> = all.filter(|binding| binding.queue == it.name).map(binding).collect();
                own.sort_by_key(order);
                own
            };
            let queue = LockedQueue {
                durable: it.durable,
                exclusive: it.exclusive,
                auto_delete: it.auto_delete,
                arguments: arguments(&it.argument_table()),
                bindings: own(&mut topology.bindings()),
                retired: own(&mut topology.unbound()),
            };
            (it.common_name().into_owned(), queue)
        });
        let groups = bus.groups().iter().map(|group| {
            let mut handlers: Vec<_> = group
                .handlers
                .iter()
                .map(|handler| LockedHandler {
                    name: handler.name.to_string(),
                    takes: handler.kinds.as_deref().map(|kinds| {
                        let mut takes: Vec<_> =
                            kinds.iter().map(|kind| format!("{}.{}", kind.aggregate, kind.name)).collect();
                        takes.sort();
                        takes
                    }),
                    formerly: handler.formerly.iter().map(|&name| name.to_owned()).collect(),
                })
                .collect();
            handlers.sort_by(|a, b| a.name.cmp(&b.name));
            let locked = LockedGroup {
                queue: name_of(topology, group.queue.as_str()),
                dlq: group.keeps_dead_letters().then(|| group.dlq.to_string()),
                formerly: group.formerly.iter().map(|old| old.name.to_owned()).collect(),
                handlers,
            };
            (group.name.to_string(), locked)
        });
        let events = bus.registry().kinds().into_iter().map(|kind| {
            let schema = schema_of(bus.registry(), kind).map(|schema| {
                let fields = fields(&schema.payload);
                fields.iter().map(|(at, field)| super::events::line(at, field)).collect()
            });
            let event = LockedEvent {
                exchange: bus.exchanges().of(kind).to_owned(),
                key: kind.key.to_owned(),
                version: kind.version,
                nested: kind.payload == PayloadStyle::Nested,
                schema,
            };
            (format!("{}.{}", kind.aggregate, kind.name), event)
        });
        Self {
            _format: FORMAT,
            exchanges: exchanges.collect(),
            queues: queues.collect(),
            groups: groups.collect(),
            events: events.collect(),
        }
    }
}

/// The queue of an exclusive group is named after its process too, which is nobody's to agree to.
fn name_of(topology: &Topology, queue: &str) -> String {
    topology.queue(queue).map_or_else(|| queue.to_owned(), |queue| queue.common_name().into_owned())
}

/// What an exchange gets from others.
fn from(topology: &Topology, exchange: &str) -> Vec<LockedBinding> {
    let own = topology.exchange_bindings().filter(|binding| binding.destination.as_str() == exchange);
    let mut own: Vec<_> = own
        .map(|binding| LockedBinding {
            exchange: binding.source.to_string(),
            key: binding.key.clone(),
            arguments: arguments(&binding.arguments),
        })
        .collect();
    own.sort_by_key(order);
    own
}

fn order(binding: &LockedBinding) -> (String, String, String) {
    (binding.exchange.clone(), binding.key.clone(), format!("{:?}", binding.arguments))
}

fn binding(binding: &Binding) -> LockedBinding {
    LockedBinding {
        exchange: binding.source.to_string(),
        key: binding.key.clone(),
        arguments: arguments(&binding.arguments),
    }
}

fn arguments(headers: &Headers) -> Arguments {
    headers.iter().map(|(name, value)| (name.to_owned(), value_of(value))).collect()
}

/// A value as TOML has it; what it has no word for stands there as a text that says what it is.
fn value_of(value: &Value) -> toml::Value {
    match value {
        Value::Bool(truth) => toml::Value::Boolean(*truth),
        Value::F32(number) => toml::Value::Float(f64::from(*number)),
        Value::F64(number) => toml::Value::Float(*number),
        Value::Array(values) => toml::Value::Array(values.iter().map(value_of).collect()),
        Value::Table(table) => toml::Value::Table(arguments(table).into_iter().collect()),
        value => match (value.as_str(), value.as_int()) {
            (Some(text), _) => toml::Value::String(text.to_owned()),
            (None, Some(number)) if value.is_integer() => toml::Value::Integer(number),
            _ => toml::Value::String(format!("{value:?}")),
        },
    }
}
