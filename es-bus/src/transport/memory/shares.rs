//! Consistent-hash exchanges: what they hash, and whose share a hash is.
//!
//! As on RabbitMQ the binding key is the weight, one value always goes to the same destination while the bindings stay,
//! of several bindings of one destination the first counts, and the end of any of them ends its share. Which
//! destination a value goes to is not what RabbitMQ would say: here each destination draws a number of its own for the
//! value, and the best draw, by weight, has it (rendezvous hashing). So a destination that comes or goes moves
//! nothing between the others.

use std::collections::BTreeMap;

use super::{broker::QueueId, queue::Routed};
use crate::{
    message::{Headers, Value},
    model::{HASH_HEADER, HASH_PROPERTY},
};

/// What an exchange hashes, and the weights of those that are bound to it.
#[derive(Debug)]
pub(super) struct Shares {
    hashed: Hashed,
    weights: BTreeMap<QueueId, f64>,
}

/// What of a message is hashed.
#[derive(Debug, PartialEq)]
enum Hashed {
    Key,
    Header(String),
    MessageId,
    CorrelationId,
    Timestamp,
}

impl Shares {
    /// Of an exchange that was declared with these arguments.
    ///
    /// # Errors
    ///
    /// What RabbitMQ would say of them (406).
    pub(super) fn of(arguments: &Headers) -> Result<Self, String> {
        let hashed = match (arguments.get_str(HASH_HEADER), arguments.get_str(HASH_PROPERTY)) {
            (None, None) => Hashed::Key,
            (Some(header), None) => Hashed::Header(header.to_owned()),
            (None, Some("message_id")) => Hashed::MessageId,
            (None, Some("correlation_id")) => Hashed::CorrelationId,
            (None, Some("timestamp")) => Hashed::Timestamp,
            (None, Some(other)) => {
                return Err(format!("PRECONDITION_FAILED - Unsupported property: {other}"));
            }
            (Some(_), Some(_)) => {
                return Err(
                    "PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive".to_owned()
                );
            }
        };
        Ok(Self { hashed, weights: BTreeMap::new() })
    }

    /// Why a binding key is no weight (406).
    pub(super) fn fault(key: &str) -> Option<String> {
        match key.parse::<i64>() {
            Ok(1..) => None,
            Ok(_) => Some("PRECONDITION_FAILED - The binding key must be greater than 0".to_owned()),
            Err(_) => Some(format!("PRECONDITION_FAILED - The binding key must be an integer: {key:?}")),
        }
    }

    /// Gives a destination its share, unless it has one.
    pub(super) fn add(&mut self, key: &str, destination: QueueId) {
        self.weights.entry(destination).or_insert_with(|| key.parse().unwrap_or(1.0));
    }

    /// Ends the share of a destination.
    pub(super) fn remove(&mut self, destination: QueueId) {
        self.weights.remove(&destination);
    }

    /// Whose share a message is; nobody's where nothing is bound.
    pub(super) fn pick(&self, routed: &Routed) -> Option<QueueId> {
        let value = self.value(routed);
        let drawn = self.weights.iter().map(|(destination, weight)| {
            // Exponentially distributed, at a rate that is the weight: the least is as often its own as that says.
            (-draw(&value, *destination).ln() / weight, *destination)
        });
        drawn.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, destination)| destination)
    }

    /// What is hashed; all messages that lack it have the same.
    fn value(&self, routed: &Routed) -> Vec<u8> {
        let properties = &routed.message.properties;
        let text = |text: Option<&str>| text.unwrap_or_default().as_bytes().to_vec();
        match &self.hashed {
            Hashed::Key => routed.routing_key.as_bytes().to_vec(),
            Hashed::Header(name) => match routed.message.headers.get(name) {
                None => Vec::new(),
                Some(Value::Str(bytes)) => bytes.to_vec(),
                Some(other) => format!("{other:?}").into_bytes(),
            },
            Hashed::MessageId => text(properties.message_id.as_deref()),
            Hashed::CorrelationId => text(properties.correlation_id.as_deref()),
            Hashed::Timestamp => text(properties.timestamp.map(|at| at.to_string()).as_deref()),
        }
    }
}

/// A number above 0 and up to 1 that belongs to a value and a destination: FNV-1a, stirred until neighbours are far
/// apart.
fn draw(value: &[u8], destination: QueueId) -> f64 {
    let bytes = value.iter().copied().chain(destination.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    // As many bits as a float between has.
    let upper = u32::try_from((hash ^ (hash >> 33)) >> 32).unwrap_or(u32::MAX);
    (f64::from(upper) + 1.0) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    const ORDERS: QueueId = 1;
    const AUDIT: QueueId = 2;
    const BILLS: QueueId = 3;

    fn shares(weights: &[(QueueId, &str)]) -> Shares {
        let mut shares = Shares::of(&[(HASH_HEADER, "aggregate_id")].into_iter().collect()).unwrap();
        for (destination, weight) in weights {
            shares.add(weight, *destination);
        }
        shares
    }

    fn of_aggregate(id: u32) -> Routed {
        let headers = [("aggregate_id", id.to_string())].into_iter().collect();
        let message =
            Message { headers, properties: crate::message::Properties::default(), body: bytes::Bytes::new() };
        Routed {
            exchange: "shop".to_owned(),
            routing_key: "Order.Placed".into(),
            more_keys: Vec::new(),
            message,
        }
    }

    #[test]
    fn a_share_is_as_large_as_its_weight_and_what_goes_moves_nothing_between_the_others() {
        let mut shares = shares(&[(ORDERS, "1"), (AUDIT, "2"), (BILLS, "5")]);
        let all =
            |shares: &Shares| (0..8000).map(|id| shares.pick(&of_aggregate(id)).unwrap()).collect::<Vec<_>>();

        let before = all(&shares);
        for (destination, expected) in [(ORDERS, 1000), (AUDIT, 2000), (BILLS, 5000)] {
            let count = before.iter().filter(|it| **it == destination).count();
            assert!(count.abs_diff(expected) < 150, "{count} of {expected}");
        }

        shares.remove(AUDIT);
        let after = all(&shares);
        assert!(before.iter().zip(&after).all(|(was, is)| *was == AUDIT || was == is));
        shares.remove(ORDERS);
        shares.remove(BILLS);
        assert_eq!(shares.pick(&of_aggregate(1)), None);
    }

    #[test]
    fn of_two_weights_the_first_counts_until_either_is_gone() {
        let mut shares = shares(&[(ORDERS, "1"), (AUDIT, "1")]);
        let count =
            |shares: &Shares| (0..1000).filter(|id| shares.pick(&of_aggregate(*id)) == Some(ORDERS)).count();
        let before = count(&shares);

        shares.add("9", ORDERS);
        assert_eq!(count(&shares), before);
        shares.remove(ORDERS);
        assert_eq!(count(&shares), 0);
    }

    #[test]
    fn refuses_what_the_plugin_refuses() {
        let both = [(HASH_HEADER, "tenant"), (HASH_PROPERTY, "message_id")].into_iter().collect();
        assert!(Shares::of(&both).unwrap_err().contains("mutually exclusive"));
        let other = [(HASH_PROPERTY, "app_id")].into_iter().collect();
        assert!(Shares::of(&other).unwrap_err().contains("Unsupported property"));
        for (key, is_weight) in
            [("1", true), ("20", true), ("0", false), ("-1", false), ("Order.*", false), ("", false)]
        {
            assert_eq!(Shares::fault(key).is_none(), is_weight, "{key:?}");
        }
    }
}
