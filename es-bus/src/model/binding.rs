//! A binding: which messages of an exchange a queue gets, or another exchange.

use crate::{
    message::Headers,
    name::{ExchangeName, QueueName},
};

/// A binding of a queue to an exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The exchange that messages come from.
    pub source: ExchangeName,
    /// The queue that they go to.
    pub queue: QueueName,
    /// The binding key; empty where the exchange does not look at it.
    pub key: String,
    /// Arguments: what a headers exchange matches on.
    pub arguments: Headers,
}

impl Binding {
    /// A binding by key alone.
    #[must_use]
    pub fn by_key(source: ExchangeName, queue: QueueName, key: impl Into<String>) -> Self {
        Self { source, queue, key: key.into(), arguments: Headers::new() }
    }
}

/// A binding of an exchange to an exchange: the destination gets what the source would give a queue so bound.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeBinding {
    /// The exchange that messages come from.
    pub source: ExchangeName,
    /// The exchange that they go to.
    pub destination: ExchangeName,
    /// The binding key; empty where the source does not look at it.
    pub key: String,
    /// Arguments: what a headers exchange matches on.
    pub arguments: Headers,
}

impl ExchangeBinding {
    /// A binding by key alone.
    #[must_use]
    pub fn by_key(source: ExchangeName, destination: ExchangeName, key: impl Into<String>) -> Self {
        Self { source, destination, key: key.into(), arguments: Headers::new() }
    }
}
