//! What AMQP alone tells of a broker: whether exchanges and queues exist, and how full a queue is.
//!
//! Passive declarations only, so nothing changes. Settings and bindings stay unseen.

use futures_util::{StreamExt, stream};

use super::{Admin, DeclareError};
use crate::{
    model::{Observed, ObservedExchange, ObservedQueue, View},
    name::{ExchangeName, QueueName},
};

/// How many questions are under way at once.
const PARALLEL: usize = 16;

/// Looks for each of these.
pub(super) async fn over_amqp<A: Admin + ?Sized>(
    admin: &A,
    exchanges: &[ExchangeName],
    queues: &[QueueName],
) -> Result<Observed, DeclareError> {
    let mut observed = Observed::new(View::Amqp);
    let asked: Vec<_> = exchanges.iter().map(|name| admin.exchange_exists(name)).collect();
    let found: Vec<_> = stream::iter(asked).buffered(PARALLEL).collect().await;
    for (name, found) in exchanges.iter().zip(found) {
        match found {
            Ok(true) => {
                observed.exchanges.insert(name.as_str().to_owned(), ObservedExchange::default());
            }
            Ok(false) => {}
            Err(error @ DeclareError::Interrupted { .. }) => return Err(error),
            Err(error) => observed.unseen.push(format!("whether there is an exchange {name:?}: {error}")),
        }
    }
    let asked: Vec<_> = queues.iter().map(|name| admin.queue_status(name)).collect();
    let found: Vec<_> = stream::iter(asked).buffered(PARALLEL).collect().await;
    for (name, found) in queues.iter().zip(found) {
        let queue = match found {
            Ok(None) => continue,
            Ok(Some(status)) => ObservedQueue {
                ready: Some(status.messages),
                consumers: Some(status.consumers),
                ..ObservedQueue::default()
            },
            Err(error @ DeclareError::Interrupted { .. }) => return Err(error),
            // It is there, and cannot be used: another connection has it alone, or its node is down.
            Err(DeclareError::Down { reason, .. } | DeclareError::Refused { reason, .. }) => {
                ObservedQueue { trouble: Some(reason), ..ObservedQueue::default() }
            }
            Err(error) => {
                observed.unseen.push(format!("whether there is a queue {name:?}: {error}"));
                continue;
            }
        };
        observed.queues.insert(name.as_str().to_owned(), queue);
    }
    Ok(observed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Exchange, ExchangeKind, Queue, QueueKind},
        transport::memory::Memory,
    };

    #[tokio::test]
    async fn over_amqp_only_existence_and_counts_are_seen() {
        let broker = Memory::new();
        let (events, other) = (ExchangeName::new("events").unwrap(), ExchangeName::new("other").unwrap());
        let (orders, missing) = (QueueName::new("orders").unwrap(), QueueName::new("missing").unwrap());
        let alone = QueueName::new("alone").unwrap();
        broker.declare_exchange(&Exchange::durable(events.clone(), ExchangeKind::Topic)).await.unwrap();
        broker.declare_queue(&Queue::durable(orders.clone(), QueueKind::Quorum)).await.unwrap();
        let beside = broker.reconnect();
        let exclusive = Queue { exclusive: true, ..Queue::durable(alone.clone(), QueueKind::Classic) };
        beside.declare_queue(&exclusive).await.unwrap();

        let observed = over_amqp(&broker, &[events, other], &[orders, missing, alone]).await.unwrap();

        assert_eq!(observed.view, View::Amqp);
        assert_eq!(observed.exchanges.keys().collect::<Vec<_>>(), ["events"]);
        assert_eq!(observed.exchanges["events"].settings, None);
        assert_eq!(observed.queues.keys().collect::<Vec<_>>(), ["alone", "orders"]);
        assert_eq!(
            (observed.queues["orders"].ready, observed.queues["orders"].consumers),
            (Some(0), Some(0))
        );
        assert!(observed.queues["alone"].trouble.as_deref().unwrap().contains("RESOURCE_LOCKED"));
        assert_eq!((observed.bindings, observed.policies), (None, None), "unseen, not empty");
    }
}
