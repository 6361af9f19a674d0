//! What `#[exchange]` says.

use super::{Bind, ExchangeKind};
use crate::{location::Location, message::StaticValue};

/// What `#[exchange]` says about an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeDef {
    /// The bus that the exchange belongs to.
    pub bus: &'static str,
    /// Its name on the broker.
    pub name: &'static str,
    /// How it picks queues.
    pub kind: ExchangeKind,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether the broker deletes it when its last binding is gone.
    pub auto_delete: bool,
    /// Whether the broker refuses what is published to it.
    pub internal: bool,
    /// Where messages go that it has no queue for.
    pub alternate: Option<ExchangeRef>,
    /// The exchanges that it gets messages from.
    pub sources: &'static [SourceDef],
    /// Further arguments, by their AMQP names.
    pub arguments: &'static [(&'static str, StaticValue)],
    /// Where it stands.
    pub location: Location,
}

/// What an exchange gets from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceDef {
    /// The other one.
    pub exchange: ExchangeRef,
    /// What it asks for; nothing for everything.
    pub binds: &'static [Bind],
}

/// How one declaration names an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeRef {
    /// Its name on the broker.
    pub name: &'static str,
    /// The definition, when it is named by a type marked `#[exchange]`.
    pub def: Option<&'static ExchangeDef>,
}
