//! What eventsource-py publishes is handled: messages captured from version 0.8.1, published as they
//! were.

use es_bus::{
    Attempt, Delivered, HandlerError, Metadata, Registry, State, event, handler,
    message::{Headers, Message, Properties, Value},
    name::ExchangeName,
};
use es_bus_tests::Node;
use serde::{Deserialize, Serialize};

use crate::support::{Journal, left_over, start, stop};

/// As the tutorial of eventsource-py declares it.
#[event(aggregate = "Order")]
#[derive(Debug, Serialize, Deserialize)]
struct OrderPlaced {
    customer_id: String,
    total_amount: f64,
}

#[handler(group = "from-python")]
async fn receive(
    order: OrderPlaced,
    metadata: Metadata,
    attempt: Attempt,
    delivered: Delivered,
    State(journal): State<Journal>,
) -> Result<(), HandlerError> {
    journal.note(format!(
        "{} {} {} {} {} {} {:?} v{} {} {}",
        attempt.number,
        delivered.routing_key,
        order.customer_id,
        order.total_amount,
        metadata.event_id,
        metadata.aggregate_id.as_deref().unwrap_or("none"),
        metadata.correlation_id,
        metadata.aggregate_version,
        metadata.occurred_at,
        delivered.replayed,
    ));
    Ok(())
}

const BODY: &str = r#"{"event_id":"11111111-1111-4111-8111-111111111111","event_type":"OrderPlaced","event_version":1,"occurred_at":"2026-01-02T03:04:05.678901Z","aggregate_id":"22222222-2222-4222-8222-222222222222","aggregate_type":"Order","aggregate_version":1,"tenant_id":null,"actor_id":null,"correlation_id":"33333333-3333-4333-8333-333333333333","causation_id":null,"metadata":{},"customer_id":"cust-123","total_amount":99.99}"#;

/// A message as captured: its headers beside those that all have, and its timestamp.
fn captured(headers: &[(&'static str, Value)], timestamp: Option<u64>) -> Message {
    let common: [(&str, Value); 5] = [
        ("aggregate_id", "22222222-2222-4222-8222-222222222222".into()),
        ("aggregate_type", "Order".into()),
        ("aggregate_version", Value::I8(1)),
        ("correlation_id", "33333333-3333-4333-8333-333333333333".into()),
        ("event_type", "OrderPlaced".into()),
    ];
    Message {
        properties: Properties {
            content_type: Some("application/json".into()),
            content_encoding: Some("utf-8".into()),
            persistent: true,
            priority: Some(0),
            message_id: Some("11111111-1111-4111-8111-111111111111".into()),
            timestamp,
            ..Properties::default()
        },
        headers: common.into_iter().chain(headers.iter().cloned()).collect::<Headers>(),
        body: BODY.as_bytes().into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_retries_and_replays_of_a_python_peer_are_handled() {
    let vhost = Node::shared().vhost("python");
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<receive>(), &journal).await;
    let published = captured(&[("x-retry-count", Value::I8(0))], Some(1_767_323_045));
    // By another group, which is Python's, and whose count is not ours.
    let retried = captured(
        &[("x-last-retry-at", "2026-11-21T08:44:55.895695+00:00".into()), ("x-retry-count", Value::I8(1))],
        None,
    );
    let replayed = captured(
        &[
            ("x-last-retry-at", "2026-11-21T08:44:55.895695+00:00".into()),
            ("x-replayed-from-dlq", "2026-11-21T08:44:57.711763+00:00".into()),
            ("x-retry-count", Value::I8(0)),
        ],
        None,
    );

    for (count, message) in [published, retried, replayed].into_iter().enumerate() {
        let exchange = ExchangeName::new("events").expect("a name");
        bus.publisher().publish_message(exchange, "Order.OrderPlaced", message).await.expect("routed");
        journal.until_len(count + 1).await;
    }

    let line = |replayed: bool| {
        format!(
            "0 Order.OrderPlaced cust-123 99.99 11111111-1111-4111-8111-111111111111 \
             22222222-2222-4222-8222-222222222222 Some(\"33333333-3333-4333-8333-333333333333\") v1 \
             2026-01-02 3:04:05.678901 +00:00:00 {replayed}"
        )
    };
    assert_eq!(journal.lines(), [line(false), line(false), line(true)]);
    assert_eq!(left_over(&vhost).await, []);
    stop(bus).await;
}
