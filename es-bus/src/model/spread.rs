//! Where a message comes to over exchanges that are bound to exchanges: RabbitMQ's rule, on a topology.

use super::{Binding, Exchange, Topology};
use crate::message::Headers;

/// An exchange that a message comes to.
#[derive(Debug)]
pub(crate) struct Stop<'a> {
    /// Which one.
    pub(crate) exchange: &'a Exchange,
    /// Those of its bindings that give it to queues.
    pub(crate) bindings: Vec<&'a Binding>,
}

impl Topology {
    /// The exchanges that a message comes to, in order, each once, however the bindings lead round.
    ///
    /// Each gives it to all that is bound to it and `takes` it. An exchange that gives it to nothing, neither a
    /// queue nor an exchange, hands it over to its alternate exchange; one that gives it to an exchange in which
    /// it ends does not.
    pub(crate) fn spread<'a>(
        &'a self,
        start: &str,
        takes: impl Fn(&'a Exchange, &'a str, &'a Headers) -> bool,
    ) -> Vec<Stop<'a>> {
        self.go(start, takes, false)
    }

    /// The exchanges that a message may come to, where a binding that may take it need not: alternate exchanges
    /// get it in any case.
    pub(crate) fn may_spread<'a>(
        &'a self,
        start: &str,
        may_take: impl Fn(&'a Exchange, &'a str, &'a Headers) -> bool,
    ) -> Vec<Stop<'a>> {
        self.go(start, may_take, true)
    }

    fn go<'a>(
        &'a self,
        start: &str,
        takes: impl Fn(&'a Exchange, &'a str, &'a Headers) -> bool,
        always_over: bool,
    ) -> Vec<Stop<'a>> {
        let mut stops = Vec::new();
        let mut way: Vec<&Exchange> = self.exchange(start).into_iter().collect();
        let mut at = 0;
        while let Some(exchange) = way.get(at).copied() {
            let bindings: Vec<_> = self
                .bindings_of(&exchange.name)
                .filter(|binding| takes(exchange, &binding.key, &binding.arguments))
                .collect();
            let onward: Vec<_> = self
                .exchange_bindings_of(&exchange.name)
                .filter(|binding| takes(exchange, &binding.key, &binding.arguments))
                .collect();
            let ends_here = bindings.is_empty() && onward.is_empty();
            let over = exchange.alternate().filter(|_| ends_here || always_over);
            let next = onward.iter().map(|binding| binding.destination.as_str()).chain(over);
            for exchange in next.filter_map(|name| self.exchange(name)) {
                if !way.iter().any(|there| there.name == exchange.name) {
                    way.push(exchange);
                }
            }
            stops.push(Stop { exchange, bindings });
            at += 1;
        }
        stops
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{ExchangeBinding, ExchangeKind, delivers},
        name::{ExchangeName, QueueName},
    };

    fn name(name: &str) -> ExchangeName {
        ExchangeName::new(name).unwrap()
    }

    /// shop gives orders to audit and to back, which gives them to shop again; audit keeps those that are placed;
    /// what shop has nothing for goes to lost.
    fn topology() -> Topology {
        let mut topology = Topology::new();
        let mut shop = Exchange::durable(name("shop"), ExchangeKind::Topic);
        shop.arguments.insert("alternate-exchange", "lost");
        topology.add_exchange(shop).unwrap();
        for other in ["audit", "back", "lost"] {
            topology.add_exchange(Exchange::durable(name(other), ExchangeKind::Topic)).unwrap();
        }
        for (source, destination, key) in
            [("shop", "audit", "Order.#"), ("shop", "back", "Order.*"), ("back", "shop", "#")]
        {
            topology.add_exchange_binding(ExchangeBinding::by_key(name(source), name(destination), key));
        }
        for (source, queue, key) in [("audit", "audit.log", "Order.Placed"), ("lost", "lost.log", "#")] {
            topology.add_binding(Binding::by_key(name(source), QueueName::new(queue).unwrap(), key));
        }
        topology
    }

    #[test]
    fn goes_over_each_exchange_once_and_to_an_alternate_one_only_from_where_it_goes_nowhere() {
        let (topology, none) = (topology(), Headers::new());
        for (start, key, exchanges, queues) in [
            ("shop", "Order.Placed", &["shop", "audit", "back"] as &[_], &["audit.log"] as &[_]),
            // It ends in audit: that is somewhere.
            ("shop", "Order.Sent.Late", &["shop", "audit"], &[]),
            ("shop", "Invoice.Sent", &["shop", "lost"], &["lost.log"]),
            ("back", "Order.Placed", &["back", "shop", "audit"], &["audit.log"]),
            ("back", "Invoice.Sent", &["back", "shop", "lost"], &["lost.log"]),
            ("nowhere", "Order.Placed", &[], &[]),
        ] {
            let stops = topology.spread(start, |exchange, binding_key, arguments| {
                delivers(exchange.kind, (binding_key, arguments), (key, &none))
            });

            let over: Vec<_> = stops.iter().map(|stop| stop.exchange.name.as_str()).collect();
            let into: Vec<_> =
                stops.iter().flat_map(|stop| &stop.bindings).map(|binding| binding.queue.as_str()).collect();
            assert_eq!((&over[..], &into[..]), (exchanges, queues), "{start} {key}");
            assert_eq!(topology.routes(start, key, &none), !queues.is_empty(), "{start} {key}");
        }
    }
}
