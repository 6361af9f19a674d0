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

    /// Whether a binding by this key delivers messages with this routing key; on a headers exchange
    /// a key asks for nothing, and so it is a no.
    #[must_use]
    pub const fn delivers(self, binding_key: &str, routing_key: &str) -> bool {
        match self {
            Self::Topic => topic::matches(binding_key, routing_key),
            Self::Direct => topic::is_same(binding_key, routing_key),
            Self::Fanout => true,
            Self::Headers => false,
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
        ] {
            assert_eq!(kind.delivers(binding, key), expected, "{kind:?} {binding} {key}");
        }
    }
}
