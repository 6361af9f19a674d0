//! How an exchange picks queues: the bindings of one exchange, and the question which queues a
//! message goes to.
//!
//! A topic exchange looks at its binding keys one by one; [`Bindings::route`] hides that, so that a
//! trie can take its place.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    message::Headers,
    model::{Binding, ExchangeKind, delivers},
    name::QueueName,
    topic,
};

/// The bindings of one exchange.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    /// By binding key; of one key, those to one queue differ in their arguments.
    by_key: BTreeMap<String, Vec<(QueueName, Headers)>>,
}

impl Bindings {
    /// Adds a binding; one that is there already does nothing.
    pub(super) fn add(&mut self, binding: &Binding) {
        let of_key = self.by_key.entry(binding.key.clone()).or_default();
        if !of_key.iter().any(|there| is_same(there, binding)) {
            of_key.push((binding.queue.clone(), binding.arguments.clone()));
        }
    }

    /// Removes a binding; `false` when it was not there.
    pub(super) fn remove(&mut self, binding: &Binding) -> bool {
        let Some(of_key) = self.by_key.get_mut(&binding.key) else { return false };
        let before = of_key.len();
        of_key.retain(|there| !is_same(there, binding));
        let removed = of_key.len() < before;
        if of_key.is_empty() {
            self.by_key.remove(&binding.key);
        }
        removed
    }

    /// Removes all bindings of a queue; `false` when there were none.
    pub(super) fn remove_queue(&mut self, queue: &QueueName) -> bool {
        let mut removed = false;
        self.by_key.retain(|_, of_key| {
            let before = of_key.len();
            of_key.retain(|(there, _)| there != queue);
            removed |= of_key.len() < before;
            !of_key.is_empty()
        });
        removed
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Adds the queues that a message goes to.
    pub(super) fn route(
        &self,
        kind: ExchangeKind,
        routing_key: &str,
        headers: &Headers,
        queues: &mut BTreeSet<QueueName>,
    ) {
        let mut take = |of_key: &[(QueueName, Headers)]| {
            queues.extend(of_key.iter().map(|(queue, _)| queue.clone()));
        };
        match kind {
            ExchangeKind::Direct => {
                if let Some(of_key) = self.by_key.get(routing_key) {
                    take(of_key);
                }
            }
            ExchangeKind::Fanout => self.by_key.values().for_each(|of_key| take(of_key)),
            ExchangeKind::Topic => self
                .by_key
                .iter()
                .filter(|(pattern, _)| topic::matches(pattern, routing_key))
                .for_each(|(_, of_key)| take(of_key)),
            ExchangeKind::Headers => {
                for (key, of_key) in &self.by_key {
                    for (queue, arguments) in of_key {
                        if delivers(kind, (key, arguments), (routing_key, headers)) {
                            queues.insert(queue.clone());
                        }
                    }
                }
            }
        }
    }
}

fn is_same((queue, arguments): &(QueueName, Headers), binding: &Binding) -> bool {
    *queue == binding.queue && *arguments == binding.arguments
}

/// Why the arguments of a binding to a headers exchange are refused (406).
pub(super) fn headers_binding_fault(arguments: &Headers) -> Option<String> {
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
    use crate::name::ExchangeName;

    fn name(text: &str) -> QueueName {
        QueueName::new(text).unwrap()
    }

    fn binding(queue: &str, key: &str, arguments: Headers) -> Binding {
        Binding {
            source: ExchangeName::new("events").unwrap(),
            queue: name(queue),
            key: key.to_owned(),
            arguments,
        }
    }

    fn routed(bindings: &Bindings, kind: ExchangeKind, key: &str, headers: &Headers) -> Vec<String> {
        let mut queues = BTreeSet::new();
        bindings.route(kind, key, headers, &mut queues);
        queues.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_kind_of_exchange_picks_by_its_own_rule() {
        let mut bindings = Bindings::default();
        for (queue, key) in [("all", "#"), ("placed", "Order.Placed"), ("orders", "Order.*")] {
            bindings.add(&binding(queue, key, Headers::new()));
        }
        let none = Headers::new();

        assert_eq!(routed(&bindings, ExchangeKind::Direct, "Order.Placed", &none), ["placed"]);
        assert_eq!(
            routed(&bindings, ExchangeKind::Topic, "Order.Placed", &none),
            ["all", "orders", "placed"]
        );
        assert_eq!(routed(&bindings, ExchangeKind::Topic, "Invoice.Sent", &none), ["all"]);
        assert_eq!(routed(&bindings, ExchangeKind::Fanout, "", &none), ["all", "orders", "placed"]);
    }

    #[test]
    fn a_binding_counts_once_and_its_removal_takes_only_itself() {
        let mut bindings = Bindings::default();
        let order = binding("orders", "Order.*", Headers::new());
        bindings.add(&order);
        bindings.add(&order);
        bindings.add(&binding("audit", "Order.*", Headers::new()));

        assert!(bindings.remove(&order));
        assert!(!bindings.remove(&order));
        assert_eq!(routed(&bindings, ExchangeKind::Topic, "Order.Placed", &Headers::new()), ["audit"]);
        assert!(bindings.remove_queue(&name("audit")));
        assert!(bindings.is_empty());
    }
}
