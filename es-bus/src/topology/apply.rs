//! Brings a broker to a topology: declares what is missing, tells what differs.

use futures_util::{StreamExt, stream};

use super::differences;
use crate::{
    handler::BoxFuture,
    model::{Exchange, Queue, Topology},
    transport::{Admin, DeclareError},
};

/// How many declarations are under way at once.
const PARALLEL: usize = 16;

/// What stands in the way of a topology.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the broker cannot be brought to the declared topology ({} {})", errors.len(), if errors.len() == 1 { "finding" } else { "findings" })]
pub(crate) struct ApplyError {
    /// Everything that was refused, in the order of the topology.
    pub(crate) errors: Vec<DeclareError>,
}

impl ApplyError {
    /// Whether the connection was lost on the way, so that trying again may help.
    #[must_use]
    pub(crate) fn is_interrupted(&self) -> bool {
        self.errors.iter().any(|error| matches!(error, DeclareError::Interrupted { .. }))
    }

    /// Whether the user may not do something.
    #[must_use]
    pub(crate) fn is_forbidden(&self) -> bool {
        self.errors.iter().any(|error| matches!(error, DeclareError::Forbidden { .. }))
    }

    /// Whether all that stands in the way is a node that is down, which passes.
    #[must_use]
    pub(crate) fn is_down(&self) -> bool {
        self.errors.iter().all(|error| matches!(error, DeclareError::Down { .. }))
    }

    /// Whether nothing contradicts the topology: what was refused is out of reach (its node is down,
    /// or somebody has it alone), or somebody else is to declare it, which passes. Other settings and
    /// missing permissions do not.
    #[must_use]
    pub(crate) fn may_pass(&self) -> bool {
        self.errors.iter().all(|error| {
            matches!(
                error,
                DeclareError::Refused { .. } | DeclareError::Missing { .. } | DeclareError::Down { .. }
            )
        })
    }
}

/// Declares every exchange, then every queue, then every binding; then takes back those that must not
/// be there.
///
/// Idempotent. Nothing is bound while an exchange or a queue is refused, so that no event flows
/// into half a topology; all refusals are reported together.
///
/// # Errors
///
/// [`ApplyError`] with everything that the broker refused.
///
/// # Cancel safety
///
/// Dropped half-way it leaves a part of the topology; applied again it goes on.
pub(crate) async fn apply(admin: &dyn Admin, topology: &Topology) -> Result<(), ApplyError> {
    let exchanges = topology.exchanges().map(|exchange| declare_exchange(admin, exchange)).collect();
    let mut errors = refusals(exchanges).await;
    let queues = topology.queues().map(|queue| declare_queue(admin, queue)).collect();
    errors.extend(refusals(queues).await);
    if !errors.is_empty() {
        return Err(ApplyError { errors });
    }
    // One after another: the order of bindings is part of what the topology says.
    for binding in topology.bindings() {
        if let Err(error) = admin.bind(binding).await {
            errors.push(error);
        }
    }
    for binding in topology.unbound() {
        if let Err(error) = admin.unbind(binding).await {
            errors.push(error);
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApplyError { errors }) }
}

/// Looks whether everything is there that others declare (`declare = "passive"`). Bindings cannot be
/// looked at over AMQP.
///
/// # Errors
///
/// [`ApplyError`] with everything that is missing.
pub(crate) async fn look(admin: &dyn Admin, topology: &Topology) -> Result<(), ApplyError> {
    let exchanges = topology.exchanges().map(|exchange| look_for_exchange(admin, exchange)).collect();
    let mut errors = refusals(exchanges).await;
    let queues = topology.queues().filter(|queue| !queue.exclusive);
    errors.extend(refusals(queues.map(|queue| look_for_queue(admin, queue)).collect()).await);
    if errors.is_empty() { Ok(()) } else { Err(ApplyError { errors }) }
}

/// Declares the queues that only this connection has, which nobody else could declare for it.
///
/// # Errors
///
/// [`ApplyError`] with everything that the broker refused.
pub(crate) async fn declare_own(admin: &dyn Admin, topology: &Topology) -> Result<(), ApplyError> {
    let mut errors = Vec::new();
    for queue in topology.queues().filter(|queue| queue.exclusive) {
        errors.extend(declare_queue(admin, queue).await);
        for binding in topology.bindings().filter(|binding| binding.queue == queue.name) {
            errors.extend(admin.bind(binding).await.err());
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ApplyError { errors }) }
}

fn look_for_exchange<'a>(admin: &'a dyn Admin, exchange: &'a Exchange) -> BoxFuture<'a, Vec<DeclareError>> {
    Box::pin(async move {
        match admin.exchange_exists(&exchange.name).await {
            Ok(true) => Vec::new(),
            Ok(false) => vec![missing("exchange", exchange.name.as_str())],
            Err(error) => vec![error],
        }
    })
}

fn look_for_queue<'a>(admin: &'a dyn Admin, queue: &'a Queue) -> BoxFuture<'a, Vec<DeclareError>> {
    Box::pin(async move {
        match admin.queue_status(&queue.name).await {
            Ok(Some(_)) => Vec::new(),
            Ok(None) => vec![missing("queue", queue.name.as_str())],
            Err(error) => vec![error],
        }
    })
}

fn missing(what: &'static str, name: &str) -> DeclareError {
    DeclareError::Missing { what, name: name.to_owned() }
}

fn declare_exchange<'a>(admin: &'a dyn Admin, exchange: &'a Exchange) -> BoxFuture<'a, Vec<DeclareError>> {
    Box::pin(async move {
        match admin.declare_exchange(exchange).await {
            Ok(()) => Vec::new(),
            Err(error @ DeclareError::Mismatch { .. }) => {
                differences::of_exchange(admin, exchange, error).await
            }
            Err(error) => vec![error],
        }
    })
}

fn declare_queue<'a>(admin: &'a dyn Admin, queue: &'a Queue) -> BoxFuture<'a, Vec<DeclareError>> {
    Box::pin(async move {
        match admin.declare_queue(queue).await {
            Ok(()) => Vec::new(),
            Err(error @ DeclareError::Mismatch { .. }) => differences::of_queue(admin, queue, error).await,
            Err(error) => vec![error],
        }
    })
}

/// Runs declarations side by side, and gives what was refused in their order.
async fn refusals(declarations: Vec<BoxFuture<'_, Vec<DeclareError>>>) -> Vec<DeclareError> {
    stream::iter(declarations).buffered(PARALLEL).concat().await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        model::{ExchangeKind, QueueKind},
        name::{ExchangeName, QueueName},
        topology::{
            build,
            fixtures::{PLACED, exchanges, group, handler},
        },
        transport::memory::Memory,
    };

    fn wanted() -> Topology {
        let handlers = vec![handler("project", &["Order.*"], Some(&[PLACED]))];
        build(&[group(handlers)], &[], &exchanges()).unwrap()
    }

    #[tokio::test]
    async fn looking_names_everything_that_is_missing_and_declares_nothing() {
        let broker = Memory::new();
        let queue = Queue::durable(QueueName::new("events.projections").unwrap(), QueueKind::Classic);
        broker.declare_queue(&queue).await.unwrap();

        let error = look(&broker, &wanted()).await.unwrap_err();

        let names: Vec<_> = error
            .errors
            .iter()
            .map(|error| match error {
                DeclareError::Missing { what, name } => format!("{what} {name}"),
                other => panic!("{other}"),
            })
            .collect();
        assert!(names.contains(&"exchange events".to_owned()), "{names:?}");
        assert!(names.contains(&"queue events.projections.dlq".to_owned()), "{names:?}");
        assert!(!names.contains(&"queue events.projections".to_owned()), "{names:?}");
        assert!(look(&broker, &wanted()).await.is_err(), "nothing was declared");

        broker.delete_queue(&queue.name).await.unwrap();
        apply(&broker, &wanted()).await.unwrap();
        look(&broker, &wanted()).await.unwrap();
    }

    fn fields(error: &ApplyError) -> Vec<(String, String)> {
        error
            .errors
            .iter()
            .map(|error| match error {
                DeclareError::Mismatch { name, field, .. } => {
                    (name.clone(), field.clone().unwrap_or_default())
                }
                other => panic!("{other}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn applies_twice_and_changes_nothing_the_second_time() {
        let broker = Memory::new();

        apply(&broker, &wanted()).await.unwrap();
        apply(&broker, &wanted()).await.unwrap();
    }

    #[tokio::test]
    async fn tells_every_difference_of_everything_that_differs_and_binds_nothing() {
        let broker = Memory::new();
        let name = |name: &str| QueueName::new(name).unwrap();
        let exchange = Exchange {
            durable: false,
            ..Exchange::durable(ExchangeName::new("events").unwrap(), ExchangeKind::Direct)
        };
        broker.declare_exchange(&exchange).await.unwrap();
        let queue = Queue {
            message_ttl: Some(Duration::from_secs(9)),
            ..Queue::durable(name("events.projections"), QueueKind::Classic)
        };
        broker.declare_queue(&queue).await.unwrap();
        broker
            .declare_queue(&Queue::durable(name("events.projections.dlq"), QueueKind::Classic))
            .await
            .unwrap();

        let error = apply(&broker, &wanted()).await.unwrap_err();

        let fields = fields(&error);
        let of = |thing: &str| -> Vec<&str> {
            let mut of: Vec<_> =
                fields.iter().filter(|(name, _)| name == thing).map(|(_, field)| field.as_str()).collect();
            of.sort_unstable();
            of
        };
        assert_eq!(of("events"), ["durable", "type"]);
        assert_eq!(
            of("events.projections"),
            [
                "x-dead-letter-exchange",
                "x-dead-letter-routing-key",
                "x-dead-letter-strategy",
                "x-delivery-limit",
                "x-message-ttl",
                "x-overflow",
                "x-queue-type"
            ]
        );
        assert_eq!(of("events.projections.dlq"), ["x-delivery-limit", "x-queue-type"]);
        // What is there was left as it was.
        broker.declare_queue(&queue).await.unwrap();
        broker.declare_exchange(&exchange).await.unwrap();
    }
}
