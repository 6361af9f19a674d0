//! Which exchange a name means: as `#[exchange]` says, the bus's default exchange as the
//! configuration says, and otherwise a durable topic exchange.

use std::collections::BTreeMap;

use crate::{
    event::EventKind,
    exchange::{ExchangeDef, ExchangeKind, SourceDef},
    message::Value,
    model::{Exchange, HASH_HEADER},
    name::{ExchangeName, InvalidName},
    wire::names::AGGREGATE_ID,
};

/// The exchanges of a program, by name.
#[derive(Clone, Debug)]
pub(crate) struct Exchanges {
    default: ExchangeName,
    default_kind: ExchangeKind,
    declared: BTreeMap<&'static str, &'static ExchangeDef>,
}

impl Exchanges {
    /// The default exchange of the bus, and what `#[exchange]` declares.
    pub(crate) fn new(
        default: ExchangeName,
        default_kind: ExchangeKind,
        declared: &[&'static ExchangeDef],
    ) -> Self {
        Self { default, default_kind, declared: declared.iter().map(|def| (def.name, *def)).collect() }
    }

    /// The exchange of events and groups that name none.
    pub(crate) fn default(&self) -> &ExchangeName {
        &self.default
    }

    /// Every exchange that has a declaration of its own, by name.
    pub(crate) fn declared(&self) -> impl Iterator<Item = &'static str> {
        self.declared.keys().copied()
    }

    /// What exchanges get from others: the name of the one, and what it asks the other for.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&'static str, &'static SourceDef)> {
        self.declared.values().flat_map(|def| def.sources.iter().map(|source| (def.name, source)))
    }

    /// The exchange that an event is published to.
    pub(crate) fn of<'a>(&'a self, kind: &EventKind) -> &'a str {
        kind.exchange.unwrap_or(self.default.as_str())
    }

    /// How an exchange picks queues.
    pub(crate) fn kind(&self, name: &str) -> ExchangeKind {
        match self.declared.get(name) {
            Some(def) => def.kind,
            None if name == self.default.as_str() => self.default_kind,
            None => ExchangeKind::Topic,
        }
    }

    /// The exchange as it is declared.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] for a name that AMQP does not carry.
    pub(crate) fn exchange(&self, name: &str) -> Result<Exchange, InvalidName> {
        let exchange = Exchange::durable(ExchangeName::new(name)?, self.kind(name));
        let Some(def) = self.declared.get(name) else {
            // One that the configuration names has nobody who says what it hashes.
            let is_hashed = exchange.kind == ExchangeKind::ConsistentHash;
            let arguments = is_hashed.then_some((HASH_HEADER, AGGREGATE_ID)).into_iter().collect();
            return Ok(Exchange { arguments, ..exchange });
        };
        let mut arguments = def.arguments.iter().copied().collect::<crate::message::Headers>();
        if let Some(alternate) = def.alternate {
            arguments.insert("alternate-exchange", Value::from(alternate.name));
        }
        Ok(Exchange {
            durable: def.durable,
            auto_delete: def.auto_delete,
            internal: def.internal,
            arguments,
            ..exchange
        })
    }
}
