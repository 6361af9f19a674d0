//! `TestRabbitMQReliabilityShutdown`

use std::time::Duration;

use es_bus::{PublishError, Registry, State, handler};
use es_bus_tests::Node;
use tokio::time::{Instant, sleep};

use super::projections;
use crate::support::{Journal, Look, OrderPlaced, builder, placed, run, stop};

#[handler(group = "slow")]
async fn slow(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(format!("began {}", order.order_id));
    sleep(Duration::from_secs(3600)).await;
    journal.note(format!("ended {}", order.order_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_completes_within_timeout() {
    let vhost = Node::shared().vhost("shutdown-timeout");
    let journal = Journal::default();
    let bus = builder(vhost.url(), Registry::new().handler::<slow>())
        .state(journal.clone())
        .set("shutdown_timeout", Duration::from_millis(300));
    let bus = run(bus).await;
    bus.publisher().publish(&placed("o-1", 1)).await.expect("one queue takes it");
    journal.until_len(1).await;

    let began = Instant::now();
    stop(bus).await;

    // The handler would have taken an hour; the connection has five more seconds to close.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    Look::at(&vhost).await.until("events.slow", 1, 0).await;
    assert_eq!(journal.lines(), ["began o-1"], "aborted, and its event went back");
}

#[handler(group = "brisk")]
async fn brisk(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(format!("began {}", order.order_id));
    sleep(Duration::from_millis(300)).await;
    journal.note(format!("ended {}", order.order_id));
}

/// What is in hand is finished, and acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn context_manager_graceful_shutdown() {
    let vhost = Node::shared().vhost("graceful-shutdown");
    let journal = Journal::default();
    let bus = run(builder(vhost.url(), Registry::new().handler::<brisk>()).state(journal.clone())).await;
    bus.publisher().publish(&placed("o-1", 1)).await.expect("one queue takes it");
    journal.until_len(1).await;

    stop(bus).await;

    assert_eq!(journal.lines(), ["began o-1", "ended o-1"]);
    Look::at(&vhost).await.until("events.brisk", 0, 0).await;
}

/// However often and from wherever a bus is told to stop; and what is published later is an error,
/// where Python connects again.
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_idempotent() {
    let (_vhost, _, bus) = projections("shutdown-idempotent").await;
    let (publisher, stopper) = (bus.publisher().clone(), bus.stopper());

    stopper.cancel();
    stopper.cancel();
    stop(bus).await;
    stopper.cancel();

    let late = publisher.publish(&placed("o-1", 1)).await;
    assert!(matches!(late, Err(PublishError::Closed)), "{late:?}");
}
