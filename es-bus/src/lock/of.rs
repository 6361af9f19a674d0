//! A checked program as a lock.

use super::{
    Arguments, Lock, LockedBinding, LockedEvent, LockedExchange, LockedGroup, LockedHandler, LockedQueue,
    Settings, text::FORMAT,
};
use crate::{
    bus::Bus,
    config::{Said, SaidOf},
    event::{EventKind, PayloadStyle, Unroutable},
    exchange::{Bind, HeadersMatch},
    message::{Headers, StaticValue, Value},
    model::{Binding, Topology},
    schema::{fields, schema_of},
};

impl Lock {
    /// What a program declares now.
    #[must_use]
    pub fn of(bus: &Bus) -> Self {
        let topology = bus.topology();
        let said = bus.config().said();
        let exchanges = topology.exchanges().map(|it| {
            let exchange = LockedExchange {
                kind: it.kind.as_str().to_owned(),
                declared: bus.registry().exchange_def(it.name.as_str()).is_some(),
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
                policy: it.policy().map(|policy| arguments(&policy.definition)).unwrap_or_default(),
                bindings: own(&mut topology.bindings()),
                retired: own(&mut topology.unbound()),
            };
            (it.common_name().into_owned(), queue)
        });
        let groups = bus.groups().iter().map(|group| {
            let name = group.name.as_str();
            let def = |handler: &str| bus.registry().handlers_of(name).find(|def| def.name == handler);
            let mut handlers: Vec<_> = group
                .handlers
                .iter()
                .map(|handler| LockedHandler {
                    name: handler.name.to_string(),
                    binds: def(&handler.name)
                        .filter(|def| def.has_bind)
                        .map(|def| def.binds.iter().map(bind).collect()),
                    foreign: def(&handler.name).is_some_and(|def| def.foreign),
                    settings: settings(&said, &SaidOf::Handler(name, &handler.name)),
                    takes: handler.kinds.as_deref().map(|kinds| names(kinds.iter())),
                    emits: names(handler.emits.iter().copied()),
                    formerly: handler.formerly.iter().map(|&name| name.to_owned()).collect(),
                })
                .collect();
            handlers.sort_by(|a, b| a.name.cmp(&b.name));
            let locked = LockedGroup {
                queue: name_of(topology, group.queue.as_str()),
                dlq: group.keeps_dead_letters().then(|| group.dlq.to_string()),
                formerly: group.formerly.iter().map(|old| old.name.to_owned()).collect(),
                settings: settings(&said, &SaidOf::Group(name)),
                handlers,
            };
            (name.to_owned(), locked)
        });
        let events = bus.registry().kinds().into_iter().map(|kind| {
            let schema = schema_of(bus.registry(), kind).map(|schema| {
                let fields = fields(&schema.payload);
                fields.iter().map(|(at, field)| super::events::line(at, field)).collect()
            });
            let event = LockedEvent {
                aggregate: kind.aggregate.contains('.').then(|| kind.aggregate.to_owned()),
                exchange: bus.exchanges().of(kind).to_owned(),
                key: kind.key.to_owned(),
                version: kind.version,
                nested: kind.payload == PayloadStyle::Nested,
                persistent: kind.persistent,
                priority: kind.priority,
                ttl_ms: kind.ttl_ms,
                unroutable: unroutable(kind).map(str::to_owned),
                headers: kind
                    .headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value_of_static(*value)))
                    .collect(),
                schema,
            };
            (format!("{}.{}", kind.aggregate, kind.name), event)
        });
        Self {
            format: FORMAT,
            settings: settings(&said, &SaidOf::All),
            exchanges: exchanges.collect(),
            queues: queues.collect(),
            groups: groups.collect(),
            events: events.collect(),
        }
    }
}

/// What was said of something, as far as it shapes what is declared, or what is told of it. How fast it is worked on is
/// each process's own.
fn settings(said: &[(SaidOf<'_>, Vec<Said>)], of: &SaidOf<'_>) -> Settings {
    let rows = said.iter().filter(|(whose, _)| whose == of).flat_map(|(_, rows)| rows);
    let rows = rows.filter(|row| !OWN.contains(&row.name) && (*of != SaidOf::All || is_of_all(row)));
    rows.map(|row| (row.name.to_owned(), setting(&row.value))).collect()
}

/// The names of events, sorted.
fn names<'a>(kinds: impl Iterator<Item = &'a EventKind>) -> Vec<String> {
    let mut names: Vec<_> = kinds.map(|kind| format!("{}.{}", kind.aggregate, kind.name)).collect();
    names.sort();
    names.dedup();
    names
}

fn is_of_all(row: &Said) -> bool {
    !row.is_of_bus || OF_BUS.contains(&row.name)
}

/// Settings of the bus that shape what is declared.
const OF_BUS: [&str; 6] =
    ["consumer_timeout", "dlq_exchange_suffix", "exchange", "exchange_type", "limits_in", "program"];

/// What each process sets as it needs.
const OWN: [&str; 3] = ["concurrency", "prefetch", "slow_handler"];

/// A value as a person would write it.
fn setting(text: &str) -> toml::Value {
    match (text.parse::<i64>(), text.parse::<bool>()) {
        (Ok(number), _) if number.to_string() == text => toml::Value::Integer(number),
        (_, Ok(truth)) => toml::Value::Boolean(truth),
        _ => toml::Value::String(text.to_owned()),
    }
}

fn bind(bind: &Bind) -> toml::Value {
    match bind {
        Bind::Key(key) => toml::Value::String((*key).to_owned()),
        Bind::Headers(HeadersMatch { mode, values }) => {
            let headers: toml::Table =
                values.iter().map(|(name, value)| ((*name).to_owned(), value_of_static(*value))).collect();
            let mode = toml::Value::String(mode.as_str().to_owned());
            let both = [("headers".to_owned(), headers.into()), ("match".to_owned(), mode)];
            toml::Value::Table(both.into_iter().collect())
        }
    }
}

fn unroutable(kind: &EventKind) -> Option<&'static str> {
    match kind.unroutable {
        Unroutable::Known => None,
        Unroutable::Mandatory => Some("mandatory"),
        Unroutable::Optional => Some("optional"),
    }
}

fn value_of_static(value: StaticValue) -> toml::Value {
    match value {
        StaticValue::Str(text) => toml::Value::String(text.to_owned()),
        StaticValue::Int(number) => toml::Value::Integer(number),
        StaticValue::Bool(truth) => toml::Value::Boolean(truth),
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
