//! How an exchange picks queues: the bindings of one exchange, and the question which queues a
//! message goes to.

use std::collections::BTreeMap;

use super::{broker::QueueId, queue::Routed, shares::Shares};
use crate::{
    message::Headers,
    model::{Exchange, ExchangeKind, delivers},
    topic::Trie,
};

/// The bindings of one exchange.
#[derive(Debug)]
pub(super) struct Bindings {
    kind: ExchangeKind,
    /// By binding key; of one key, those to one queue differ in their arguments.
    by_key: BTreeMap<String, Vec<(QueueId, Headers)>>,
    /// The queues of the same, where the binding keys are patterns.
    by_pattern: Trie<QueueId>,
    /// What each has a share of, on a consistent-hash exchange.
    shares: Option<Shares>,
}

impl Bindings {
    fn new(kind: ExchangeKind) -> Self {
        Self { kind, by_key: BTreeMap::new(), by_pattern: Trie::new(), shares: None }
    }

    /// None yet, of a new exchange.
    ///
    /// # Errors
    ///
    /// Why RabbitMQ would not declare it (406).
    pub(super) fn of(exchange: &Exchange) -> Result<Self, String> {
        let is_hashed = exchange.kind == ExchangeKind::ConsistentHash;
        let shares = is_hashed.then(|| Shares::of(&exchange.arguments)).transpose()?;
        Ok(Self { shares, ..Self::new(exchange.kind) })
    }

    /// Why a binding is refused (406).
    pub(super) fn fault(&self, key: &str, arguments: &Headers) -> Option<String> {
        match self.kind {
            ExchangeKind::Headers => headers_binding_fault(arguments),
            ExchangeKind::ConsistentHash => Shares::fault(key),
            ExchangeKind::Topic | ExchangeKind::Direct | ExchangeKind::Fanout => None,
        }
    }

    /// Adds a binding; one that is there already does nothing.
    pub(super) fn add(&mut self, key: &str, queue: QueueId, arguments: &Headers) {
        let of_key = self.by_key.entry(key.to_owned()).or_default();
        if of_key.iter().any(|there| is_same(there, queue, arguments)) {
            return;
        }
        of_key.push((queue, arguments.clone()));
        if self.kind == ExchangeKind::Topic {
            self.by_pattern.insert(key, queue);
        }
        if let Some(shares) = &mut self.shares {
            shares.add(key, queue);
        }
    }

    /// Removes a binding; `false` when it was not there.
    pub(super) fn remove(&mut self, key: &str, queue: QueueId, arguments: &Headers) -> bool {
        let Some(of_key) = self.by_key.get_mut(key) else { return false };
        let Some(place) = of_key.iter().position(|there| is_same(there, queue, arguments)) else {
            return false;
        };
        of_key.remove(place);
        if of_key.is_empty() {
            self.by_key.remove(key);
        }
        self.by_pattern.remove(key, &queue);
        if let Some(shares) = &mut self.shares {
            shares.remove(queue);
        }
        true
    }

    /// Removes all bindings of a queue; `false` when there were none.
    pub(super) fn remove_queue(&mut self, queue: QueueId) -> bool {
        let mut removed = false;
        self.by_key.retain(|key, of_key| {
            of_key.retain(|(there, _)| {
                let is_kept = *there != queue;
                if !is_kept {
                    self.by_pattern.remove(key, &queue);
                    removed = true;
                }
                is_kept
            });
            !of_key.is_empty()
        });
        if let Some(shares) = &mut self.shares {
            shares.remove(queue);
        }
        removed
    }

    /// All of them: key, queue and arguments.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, QueueId, &Headers)> {
        let all = self.by_key.iter();
        all.flat_map(|(key, of_key)| of_key.iter().map(|(queue, arguments)| (&**key, *queue, arguments)))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Adds the queues that a message goes to; one to which several bindings bring it, several times.
    pub(super) fn route(&self, routed: &Routed, queues: &mut Vec<QueueId>) {
        match &self.shares {
            Some(shares) => queues.extend(shares.pick(routed)),
            None => routed.keys().for_each(|key| self.route_by(key, &routed.message.headers, queues)),
        }
    }

    fn route_by(&self, routing_key: &str, headers: &Headers, queues: &mut Vec<QueueId>) {
        match self.kind {
            ExchangeKind::Direct => {
                let of_key = self.by_key.get(routing_key).into_iter().flatten();
                queues.extend(of_key.map(|(queue, _)| *queue));
            }
            // One that has no shares is nobody's.
            ExchangeKind::ConsistentHash => {}
            ExchangeKind::Fanout => queues.extend(self.by_key.values().flatten().map(|(queue, _)| *queue)),
            ExchangeKind::Topic => self.by_pattern.each_match(routing_key, |queue| queues.push(*queue)),
            ExchangeKind::Headers => {
                for (key, of_key) in &self.by_key {
                    for (queue, arguments) in of_key {
                        if delivers(self.kind, (key, arguments), (routing_key, headers)) {
                            queues.push(*queue);
                        }
                    }
                }
            }
        }
    }
}

fn is_same(there: &(QueueId, Headers), queue: QueueId, arguments: &Headers) -> bool {
    there.0 == queue && there.1 == *arguments
}

/// Why the arguments of a binding to a headers exchange are refused (406).
fn headers_binding_fault(arguments: &Headers) -> Option<String> {
    let value = arguments.get("x-match")?;
    match value.as_str() {
        Some("all" | "any" | "all-with-x" | "any-with-x") => None,
        _ => Some(format!(
            "PRECONDITION_FAILED - invalid x-match field value {value:?}; expected all, any, all-with-x, or any-with-x"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: QueueId = 1;
    const AUDIT: QueueId = 2;
    const PLACED: QueueId = 3;

    fn routed(bindings: &Bindings, key: &str) -> Vec<QueueId> {
        let mut queues = Vec::new();
        bindings.route_by(key, &Headers::new(), &mut queues);
        queues.sort_unstable();
        queues
    }

    #[test]
    fn each_kind_of_exchange_picks_by_its_own_rule() {
        for (kind, key, expected) in [
            (ExchangeKind::Direct, "Order.Placed", &[PLACED] as &[_]),
            (ExchangeKind::Topic, "Order.Placed", &[ORDERS, AUDIT, PLACED]),
            (ExchangeKind::Topic, "Invoice.Sent", &[AUDIT]),
            (ExchangeKind::Fanout, "", &[ORDERS, AUDIT, PLACED]),
        ] {
            let mut bindings = Bindings::new(kind);
            for (queue, key) in [(AUDIT, "#"), (PLACED, "Order.Placed"), (ORDERS, "Order.*")] {
                bindings.add(key, queue, &Headers::new());
            }

            assert_eq!(routed(&bindings, key), expected, "{kind:?} {key:?}");
        }
    }

    #[test]
    fn a_binding_counts_once_and_its_removal_takes_only_itself() {
        let (mut bindings, none) = (Bindings::new(ExchangeKind::Topic), Headers::new());
        bindings.add("Order.*", ORDERS, &none);
        bindings.add("Order.*", ORDERS, &none);
        bindings.add("Order.*", AUDIT, &none);

        assert!(bindings.remove("Order.*", ORDERS, &none));
        assert!(!bindings.remove("Order.*", ORDERS, &none));
        assert_eq!(routed(&bindings, "Order.Placed"), [AUDIT]);
        assert!(bindings.remove_queue(AUDIT));
        assert!(!bindings.remove_queue(AUDIT));
        assert!(bindings.is_empty());
        assert_eq!(routed(&bindings, "Order.Placed"), [0; 0]);
    }

    #[test]
    fn bindings_that_differ_in_their_arguments_are_two() {
        let mut bindings = Bindings::new(ExchangeKind::Topic);
        let since: Headers = [("since", "2026")].into_iter().collect();
        bindings.add("Order.*", ORDERS, &Headers::new());
        bindings.add("Order.*", ORDERS, &since);

        assert!(bindings.remove("Order.*", ORDERS, &Headers::new()));
        assert_eq!(routed(&bindings, "Order.Placed"), [ORDERS]);
        assert!(bindings.remove_queue(ORDERS));
        assert_eq!(routed(&bindings, "Order.Placed"), [0; 0]);
    }
}
