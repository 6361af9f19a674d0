//! A topology in the format of RabbitMQ's definitions: what `rabbitmqctl import_definitions`, the management
//! plugin and the Kubernetes operator read.

use std::fmt;

use serde_json::{Map, Value as Json, json};

use super::{Binding, Exchange, ExchangeBinding, Policy, Queue, Topology, json};
use crate::message::Headers;

/// A value in a table that the format has no way to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotInDefinitions {
    /// What has it: `queue events.orders`, say.
    pub object: String,
    /// The name of the argument.
    pub argument: String,
}

impl fmt::Display for NotInDefinitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, argument } = self;
        write!(
            f,
            "the argument {argument:?} of {object} cannot be written into definitions: JSON has texts, numbers, \
             truths, lists and tables"
        )
    }
}

impl std::error::Error for NotInDefinitions {}

impl Topology {
    /// RabbitMQ's definitions of all that is declared here, for one virtual host, as JSON.
    ///
    /// An import makes what is missing. What is there stays as it is, also where it differs, and nobody is told:
    /// the start of the program tells. The policies that carry limits of queues are in it, and replace those of their
    /// names; an import does not tell when others apply to the queues. There are no users and no permissions in it.
    /// What an import cannot make is left out: queues that are exclusive to a connection, with their bindings.
    ///
    /// # Errors
    ///
    /// [`NotInDefinitions`] for an argument that JSON cannot hold, such as bytes or a time.
    ///
    /// # Examples
    ///
    /// ```
    /// use es_bus::{
    ///     model::{Exchange, ExchangeKind, Topology},
    ///     name::ExchangeName,
    /// };
    ///
    /// let mut topology = Topology::new();
    /// let orders = Exchange::durable(ExchangeName::new("orders").unwrap(), ExchangeKind::Topic);
    /// topology.add_exchange(orders).unwrap();
    ///
    /// let definitions = topology.definitions("shop").unwrap();
    /// assert!(definitions.contains(r#""name": "orders""#));
    /// ```
    pub fn definitions(&self, vhost: &str) -> Result<String, NotInDefinitions> {
        let queues = self.queues().filter(|queue| !queue.exclusive);
        let is_there =
            |binding: &&Binding| self.queue(binding.queue.as_str()).is_some_and(|queue| !queue.exclusive);
        let mut all = json!({
            "vhosts": [{ "name": vhost }],
            "exchanges": self.exchanges().map(|it| exchange(it, vhost)).collect::<Result<Vec<_>, _>>()?,
            "queues": queues.map(|it| queue(it, vhost)).collect::<Result<Vec<_>, _>>()?,
            "bindings": self
                .bindings()
                .filter(is_there)
                .map(|it| binding(it, vhost))
                .chain(self.exchange_bindings().map(|it| exchange_binding(it, vhost)))
                .collect::<Result<Vec<_>, _>>()?,
        });
        let policies: Vec<Json> = self.policies().map(|it| policy(&it, vhost)).collect::<Result<_, _>>()?;
        if !policies.is_empty() {
            all["policies"] = Json::from(policies);
        }
        Ok(format!("{all:#}\n"))
    }
}

fn policy(it: &Policy, vhost: &str) -> Result<Json, NotInDefinitions> {
    Ok(json!({
        "name": it.name(),
        "vhost": vhost,
        "pattern": it.pattern(),
        "apply-to": Policy::APPLY_TO,
        "priority": Policy::PRIORITY,
        "definition": table(&it.definition, || format!("policy {}", it.name()))?,
    }))
}

fn exchange(it: &Exchange, vhost: &str) -> Result<Json, NotInDefinitions> {
    Ok(json!({
        "name": it.name.as_str(),
        "vhost": vhost,
        "type": it.kind.as_str(),
        "durable": it.durable,
        "auto_delete": it.auto_delete,
        "internal": it.internal,
        "arguments": table(&it.arguments, || format!("exchange {}", it.name))?,
    }))
}

fn queue(it: &Queue, vhost: &str) -> Result<Json, NotInDefinitions> {
    Ok(json!({
        "name": it.name.as_str(),
        "vhost": vhost,
        "durable": it.durable,
        "auto_delete": it.auto_delete,
        "arguments": table(&it.argument_table(), || format!("queue {}", it.name))?,
    }))
}

fn binding(it: &Binding, vhost: &str) -> Result<Json, NotInDefinitions> {
    let name = || format!("the binding of {} to {} by {:?}", it.queue, it.source, it.key);
    Ok(json!({
        "source": it.source.as_str(),
        "vhost": vhost,
        "destination": it.queue.as_str(),
        "destination_type": "queue",
        "routing_key": it.key,
        "arguments": table(&it.arguments, name)?,
    }))
}

fn exchange_binding(it: &ExchangeBinding, vhost: &str) -> Result<Json, NotInDefinitions> {
    let name = || format!("the binding of exchange {} to {} by {:?}", it.destination, it.source, it.key);
    Ok(json!({
        "source": it.source.as_str(),
        "vhost": vhost,
        "destination": it.destination.as_str(),
        "destination_type": "exchange",
        "routing_key": it.key,
        "arguments": table(&it.arguments, name)?,
    }))
}

fn table(arguments: &Headers, object: impl Fn() -> String) -> Result<Map<String, Json>, NotInDefinitions> {
    json::of_table(arguments)
        .map_err(|argument| NotInDefinitions { object: object(), argument: argument.to_owned() })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        message::Value,
        model::{ExchangeKind, QueueKind, policy::LimitsIn},
        name::{ExchangeName, QueueName},
    };

    fn topology(change: impl FnOnce(&mut Queue)) -> Topology {
        let (orders, queue) =
            (ExchangeName::new("orders").unwrap(), QueueName::new("orders.ledger").unwrap());
        let mut topology = Topology::new();
        topology.add_exchange(Exchange::durable(orders.clone(), ExchangeKind::Topic)).unwrap();
        let mut ledger = Queue::durable(queue.clone(), QueueKind::Quorum);
        change(&mut ledger);
        topology.add_queue(ledger).unwrap();
        topology.add_binding(Binding::by_key(orders, queue, "Order.*"));
        topology
    }

    fn parsed(topology: &Topology) -> Json {
        serde_json::from_str(&topology.definitions("shop").unwrap()).unwrap()
    }

    #[test]
    fn has_what_is_declared_with_its_arguments() {
        let definitions = parsed(&topology(|queue| queue.max_length = Some(10)));

        assert_eq!(
            definitions,
            json!({
                "vhosts": [{ "name": "shop" }],
                "exchanges": [{
                    "name": "orders", "vhost": "shop", "type": "topic",
                    "durable": true, "auto_delete": false, "internal": false, "arguments": {},
                }],
                "queues": [{
                    "name": "orders.ledger", "vhost": "shop", "durable": true, "auto_delete": false,
                    "arguments": { "x-max-length": 10, "x-queue-type": "quorum" },
                }],
                "bindings": [{
                    "source": "orders", "vhost": "shop", "destination": "orders.ledger",
                    "destination_type": "queue", "routing_key": "Order.*", "arguments": {},
                }],
            })
        );
    }

    #[test]
    fn has_the_policies_that_carry_limits() {
        let definitions = parsed(&topology(|queue| {
            queue.max_length = Some(10);
            queue.limits_in = LimitsIn::Policies;
        }));

        assert_eq!(definitions["queues"][0]["arguments"], json!({ "x-queue-type": "quorum" }));
        assert_eq!(
            definitions["policies"],
            json!([{
                "name": "es-bus.orders.ledger", "vhost": "shop", "pattern": r"^orders\.ledger$", "apply-to": "queues",
                "priority": 0, "definition": { "max-length": 10 },
            }])
        );
    }

    #[test]
    fn leaves_out_what_belongs_to_a_connection() {
        let definitions = parsed(&topology(|queue| queue.exclusive = true));

        assert_eq!((&definitions["queues"], &definitions["bindings"]), (&json!([]), &json!([])));
    }

    #[test]
    fn tells_which_argument_it_cannot_write() {
        let bytes = Value::Array(vec![Value::Bytes(Bytes::from_static(b"\x00"))]);
        let error =
            topology(|queue| drop(queue.arguments.insert("x-odd", bytes))).definitions("/").unwrap_err();

        assert_eq!(
            error,
            NotInDefinitions { object: "queue orders.ledger".to_owned(), argument: "x-odd".to_owned() }
        );
        assert!(error.to_string().starts_with("the argument \"x-odd\" of queue orders.ledger cannot"));
    }
}
