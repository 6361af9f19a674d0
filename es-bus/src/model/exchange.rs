//! An exchange: where messages are published to.

use crate::{exchange::ExchangeKind, message::Headers, name::ExchangeName};

/// The argument of a consistent-hash exchange that names the header to hash.
pub(crate) const HASH_HEADER: &str = "hash-header";
/// The argument of a consistent-hash exchange that names the property to hash.
pub(crate) const HASH_PROPERTY: &str = "hash-property";

/// An exchange, as AMQP declares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Its name.
    pub name: ExchangeName,
    /// How it picks queues.
    pub kind: ExchangeKind,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether it is deleted when its last binding is.
    pub auto_delete: bool,
    /// Whether publishers are refused.
    pub internal: bool,
    /// Further arguments.
    pub arguments: Headers,
}

impl Exchange {
    /// A durable exchange.
    #[must_use]
    pub fn durable(name: ExchangeName, kind: ExchangeKind) -> Self {
        Self { name, kind, durable: true, auto_delete: false, internal: false, arguments: Headers::new() }
    }

    /// What a consistent-hash exchange hashes, in words.
    pub(crate) fn hashed(&self) -> String {
        match (self.arguments.get_str(HASH_HEADER), self.arguments.get_str(HASH_PROPERTY)) {
            (Some(header), _) => format!("the header {header}"),
            (None, Some(property)) => format!("the property {property}"),
            (None, None) => "the routing key".to_owned(),
        }
    }

    /// Where messages go that it has no queue for.
    pub(crate) fn alternate(&self) -> Option<&str> {
        self.arguments.get_str("alternate-exchange")
    }
}
