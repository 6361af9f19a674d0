//! A topology as a drawing, in the language of Mermaid, which code forges render.

use super::{Queue, Topology};
use crate::message::Headers;

impl Topology {
    /// A flowchart in Mermaid: exchanges with their kinds, queues, what is bound to what, and where expired and
    /// rejected messages go.
    ///
    /// # Examples
    ///
    /// ```
    /// use es_bus::{
    ///     model::{Binding, Exchange, ExchangeKind, Queue, QueueKind, Topology},
    ///     name::{ExchangeName, QueueName},
    /// };
    ///
    /// let (orders, ledger) = (ExchangeName::new("orders")?, QueueName::new("orders.ledger")?);
    /// let mut topology = Topology::new();
    /// topology.add_exchange(Exchange::durable(orders.clone(), ExchangeKind::Topic)).unwrap();
    /// topology.add_queue(Queue::durable(ledger.clone(), QueueKind::Quorum)).unwrap();
    /// topology.add_binding(Binding::by_key(orders, ledger, "Order.*"));
    ///
    /// assert_eq!(
    ///     topology.mermaid(),
    ///     r#"flowchart LR
    ///     n0{{"orders<br>topic"}}
    ///     n1[("orders.ledger<br>quorum")]
    ///     n0 -- "Order.*" --> n1
    /// "#
    /// );
    /// # Ok::<(), es_bus::name::InvalidName>(())
    /// ```
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut nodes: Vec<(Shape, String, String)> = Vec::new();
        let mut edges = Vec::new();
        let mut node = |shape: Shape, name: &str, kind: Option<&str>| {
            let known =
                nodes.iter().position(|(its_shape, its_name, _)| (*its_shape, &**its_name) == (shape, name));
            let at = known.unwrap_or_else(|| {
                let kind = kind.map_or_else(String::new, |kind| format!("<br>{kind}"));
                nodes.push((shape, name.to_owned(), kind));
                nodes.len() - 1
            });
            format!("n{at}")
        };
        for it in self.exchanges() {
            node(Shape::Exchange, it.name.as_str(), Some(it.kind.as_str()));
        }
        for it in self.queues() {
            node(Shape::Queue, it.name.as_str(), Some(it.kind.as_str()));
        }
        // What somebody else declares is drawn by its name alone.
        for it in self.exchange_bindings() {
            let source = node(Shape::Exchange, it.source.as_str(), None);
            let destination = node(Shape::Exchange, it.destination.as_str(), None);
            edges.push(match label(&it.key, &it.arguments) {
                None => format!("{source} --> {destination}"),
                Some(label) => format!("{source} -- \"{label}\" --> {destination}"),
            });
        }
        for it in self.bindings() {
            let source = node(Shape::Exchange, it.source.as_str(), None);
            let queue = node(Shape::Queue, it.queue.as_str(), None);
            edges.push(match label(&it.key, &it.arguments) {
                None => format!("{source} --> {queue}"),
                Some(label) => format!("{source} -- \"{label}\" --> {queue}"),
            });
        }
        for it in self.queues() {
            let Some(dead_letter) = &it.dead_letter else { continue };
            let target = match (dead_letter.exchange.as_str(), &dead_letter.routing_key) {
                // Of the default exchange the key is the name of a queue.
                ("", Some(queue)) => node(Shape::Queue, queue, None),
                ("", None) => continue,
                (exchange, _) => node(Shape::Exchange, exchange, None),
            };
            edges.push(format!(
                "{} -. \"{}\" .-> {target}",
                node(Shape::Queue, it.name.as_str(), None),
                leaves(it)
            ));
        }
        let nodes = nodes.iter().enumerate().map(|(at, (shape, name, kind))| {
            let (open, close) = shape.brackets();
            format!("n{at}{open}\"{}{kind}\"{close}", text(name))
        });
        let lines = nodes.chain(edges);
        lines.fold("flowchart LR\n".to_owned(), |drawing, line| drawing + "    " + &line + "\n")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Exchange,
    Queue,
}

impl Shape {
    fn brackets(self) -> (&'static str, &'static str) {
        match self {
            Self::Exchange => ("{{", "}}"),
            Self::Queue => ("[(", ")]"),
        }
    }
}

/// What makes a message leave a queue for its dead-letter exchange.
fn leaves(queue: &Queue) -> String {
    match queue.message_ttl {
        Some(ttl) => format!("after {ttl:?}, or rejected"),
        None => "rejected".to_owned(),
    }
}

/// What a binding goes by, where it goes by anything.
fn label(key: &str, arguments: &Headers) -> Option<String> {
    match (key, arguments.len()) {
        ("", 0) => None,
        ("", 1) => Some("1 argument".to_owned()),
        ("", count) => Some(format!("{count} arguments")),
        (key, _) => Some(text(key)),
    }
}

/// As Mermaid reads it within quotes.
fn text(text: &str) -> String {
    text.replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        model::{Binding, DeadLetter, DeadLetterStrategy, Exchange, ExchangeKind, QueueKind},
        name::{ExchangeName, QueueName},
    };

    #[test]
    fn draws_what_is_declared_and_what_it_needs_from_others() {
        let exchange = |name| ExchangeName::new(name).unwrap();
        let queue = |name, to: (&str, Option<&str>)| {
            let mut queue = Queue::durable(QueueName::new(name).unwrap(), QueueKind::Quorum);
            let (exchange, key) = (ExchangeName::new(to.0), to.1.map(str::to_owned));
            queue.dead_letter = Some(DeadLetter {
                exchange: exchange.unwrap_or_else(|_| ExchangeName::default_exchange()),
                routing_key: key,
                strategy: DeadLetterStrategy::AtMostOnce,
            });
            queue
        };
        let mut topology = Topology::new();
        topology.add_exchange(Exchange::durable(exchange("shop"), ExchangeKind::Topic)).unwrap();
        let work = queue("shop.ledger", ("graveyard", None));
        let mut wait = queue("shop.ledger.wait", ("", Some("shop.ledger")));
        wait.message_ttl = Some(Duration::from_millis(1500));
        topology.add_binding(Binding::by_key(exchange("shop"), work.name.clone(), "Order.#"));
        topology.add_binding(Binding::by_key(exchange("others"), work.name.clone(), ""));
        let mut by_header = Binding::by_key(exchange("shop"), work.name.clone(), "");
        by_header.arguments = Headers::from_iter([("region", "eu")]);
        topology.add_binding(by_header);
        topology.add_queue(work).unwrap();
        topology.add_queue(wait).unwrap();

        assert_eq!(
            topology.mermaid(),
            r##"flowchart LR
    n0{{"shop<br>topic"}}
    n1[("shop.ledger<br>quorum")]
    n2[("shop.ledger.wait<br>quorum")]
    n3{{"others"}}
    n4{{"graveyard"}}
    n0 -- "Order.#35;" --> n1
    n3 --> n1
    n0 -- "1 argument" --> n1
    n1 -. "rejected" .-> n4
    n2 -. "after 1.5s, or rejected" .-> n1
"##
        );
    }
}
