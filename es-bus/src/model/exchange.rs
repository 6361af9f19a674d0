//! An exchange: where messages are published to.

use crate::{message::Headers, name::ExchangeName};

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
}

/// How an exchange picks the queues that a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExchangeKind {
    /// By patterns over the routing key.
    Topic,
    /// By the routing key itself.
    Direct,
    /// To every queue that is bound.
    Fanout,
    /// By the headers of the message.
    Headers,
}

impl ExchangeKind {
    /// The name that AMQP gives it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Headers => "headers",
        }
    }
}
