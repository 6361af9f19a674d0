//! `TestRabbitMQReliabilityRetry`

use std::time::Duration;

use es_bus::{Attempt, Metadata, Registry, State, handler};
use es_bus_tests::Node;

use crate::support::{Journal, OrderPlaced, builder, placed, run, stop, take};

#[handler(group = "shaky")]
async fn never(
    _order: OrderPlaced,
    attempt: Attempt,
    metadata: Metadata,
    State(journal): State<Journal>,
) -> Result<(), String> {
    journal.note(format!("{} {}", metadata.event_id, attempt.number));
    Err("the ledger is closed".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn message_retried_up_to_max_retries() {
    let vhost = Node::shared().vhost("retried-up-to");
    let journal = Journal::default();
    let bus = run(shaky(vhost.url(), &journal)).await;

    let id = bus.publisher().publish(&placed("o-1", 1)).await.expect("one queue takes it");
    let dead = take(&vhost, "events.shaky.dlq", 1).await;

    assert_eq!(journal.lines(), (0..=2).map(|attempt| format!("{id} {attempt}")).collect::<Vec<_>>());
    assert_eq!(dead[0].message.headers.get_str("x-dlq-reason"), Some("the ledger is closed"));
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_count_tracked_in_dlq_metadata() {
    let vhost = Node::shared().vhost("retry-count");
    let journal = Journal::default();
    let bus = run(shaky(vhost.url(), &journal)).await;

    bus.publisher().publish(&placed("o-1", 1)).await.expect("one queue takes it");
    let dead = take(&vhost, "events.shaky.dlq", 1).await;

    let headers = &dead[0].message.headers;
    assert_eq!(headers.get("x-dlq-retry-count").and_then(es_bus::message::Value::as_int), Some(2));
    assert_eq!(headers.get_str("x-original-routing-key"), Some("Order.OrderPlaced"));
    assert!(headers.get_str("x-dlq-timestamp").is_some() && headers.get_str("x-dlq-error-type").is_some());
    stop(bus).await;
}

/// A handler that never succeeds, under Python's `max_retries=2` and a short delay.
fn shaky(url: String, journal: &Journal) -> es_bus::BusBuilder {
    builder(url, Registry::new().handler::<never>())
        .state(journal.clone())
        .set("retries", "2")
        .set("backoff_base", Duration::from_millis(100))
        .set("backoff_max", Duration::from_millis(100))
}
