//! The kinds of exchanges, and the rule of those that look at the routing key.

use crate::topic;

/// How an exchange picks the queues that a message goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// To one of the queues that are bound, by a hash over something in the message; each has as large a share as
    /// its weight. RabbitMQ has it by the plugin `rabbitmq_consistent_hash_exchange`.
    ConsistentHash,
}

impl ExchangeKind {
    /// The name that AMQP, or the plugin that has it, gives it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Headers => "headers",
            Self::ConsistentHash => "x-consistent-hash",
        }
    }

    /// The word of attributes, files and variables for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Topic | Self::Direct | Self::Fanout | Self::Headers => self.as_str(),
            Self::ConsistentHash => "consistent-hash",
        }
    }

    /// The kind that AMQP, or the plugin that has it, gives this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Topic, Self::Direct, Self::Fanout, Self::Headers, Self::ConsistentHash]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    /// The plugin without which RabbitMQ does not have it.
    #[must_use]
    pub const fn plugin(self) -> Option<&'static str> {
        match self {
            Self::Topic | Self::Direct | Self::Fanout | Self::Headers => None,
            Self::ConsistentHash => Some("rabbitmq_consistent_hash_exchange"),
        }
    }

    /// Whether a binding by this key delivers messages with this routing key; on a headers exchange
    /// a key asks for nothing, and so it is a no. On a consistent-hash exchange the key is a weight: each binding may
    /// be the one that delivers, and exactly one does.
    #[must_use]
    pub const fn delivers(self, binding_key: &str, routing_key: &str) -> bool {
        match self {
            Self::Topic => topic::matches(binding_key, routing_key),
            Self::Direct => topic::is_same(binding_key, routing_key),
            Self::Fanout | Self::ConsistentHash => true,
            Self::Headers => false,
        }
    }

    /// Whether a binding by this key delivers some of the messages of an event whose key is this, fields and all.
    #[must_use]
    pub(crate) const fn may_deliver(self, binding_key: &str, key_of_event: &str) -> bool {
        match self {
            Self::Topic => topic::may_match(binding_key, key_of_event),
            // It compares texts: none is equal to all that a key with fields may be.
            Self::Direct | Self::Fanout | Self::Headers | Self::ConsistentHash => {
                self.delivers(binding_key, key_of_event)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_looks_at_the_key_in_its_own_way() {
        for (kind, binding, key, expected) in [
            (ExchangeKind::Topic, "Order.*", "Order.Placed", true),
            (ExchangeKind::Topic, "Order.*", "Invoice.Sent", false),
            (ExchangeKind::Direct, "Order.Placed", "Order.Placed", true),
            (ExchangeKind::Direct, "Order.*", "Order.Placed", false),
            (ExchangeKind::Direct, "Order.*", "Order.*", true),
            (ExchangeKind::Fanout, "", "Order.Placed", true),
            (ExchangeKind::Headers, "Order.Placed", "Order.Placed", false),
            (ExchangeKind::ConsistentHash, "3", "Order.Placed", true),
        ] {
            assert_eq!(kind.delivers(binding, key), expected, "{kind:?} {binding} {key}");
        }
    }
}
