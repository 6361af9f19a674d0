//! `TestRabbitMQPublishConsumeRoundTrip`

use std::collections::BTreeSet;

use es_bus::{Envelope, Registry, State, event, handler};
use es_bus_tests::Node;
use serde::{Deserialize, Serialize};

use super::projections;
use crate::support::{Journal, placed, start, stop};

#[tokio::test(flavor = "multi_thread")]
async fn round_trip_multiple_events() {
    let (_vhost, journal, bus) = projections("round-trip-multiple").await;

    for order in 0..20 {
        bus.publisher().publish(&placed(format!("o-{order}"), order)).await.expect("one queue takes it");
    }

    let lines: BTreeSet<_> = journal.until_len(20).await.into_iter().collect();
    assert_eq!(lines, (0..20).map(|order| format!("placed o-{order} {order}")).collect());
    stop(bus).await;
}

/// An event with whatever JSON can hold.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OrderImported {
    order_id: String,
    note: String,
    total: f64,
    lines: Vec<(String, u64)>,
    gift: Option<bool>,
}

#[handler(group = "imports")]
async fn import(order: Envelope<OrderImported>, State(journal): State<Journal>) {
    let metadata = &order.metadata;
    journal.note(format!(
        "{} {:?} {} {:?} {}",
        metadata.event_id,
        metadata.correlation_id,
        metadata.aggregate_version,
        metadata.tenant_id,
        serde_json::to_string(&*order).expect("it came as JSON"),
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn round_trip_preserves_event_data() {
    let vhost = Node::shared().vhost("round-trip-data");
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<import>(), &journal).await;
    let order = OrderImported {
        order_id: "o-1".to_owned(),
        note: "drei Äpfel\n\u{1F34E}\"".to_owned(),
        total: 0.1 + 0.2,
        lines: vec![("apple".to_owned(), u64::MAX)],
        gift: None,
    };
    let (id, correlation, tenant) = [7, 8, 9].map(uuid::Uuid::from_u128).map(|id| id.to_string()).into();

    bus.publisher()
        .publish(&order)
        .id(&id)
        .correlation_id(&correlation)
        .aggregate_version(42)
        .tenant(&tenant)
        .await
        .expect("one queue takes it");

    let body = serde_json::to_string(&order).expect("it is JSON");
    assert_eq!(
        journal.until_len(1).await,
        [format!("{id} Some({correlation:?}) 42 Some({tenant:?}) {body}")]
    );
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn round_trip_batch_publish() {
    let (_vhost, journal, bus) = projections("round-trip-batch").await;
    let orders: Vec<_> = (0..250).map(|order| placed(format!("o-{order}"), order)).collect();

    let report = bus.publisher().publish_all(&orders).await;

    assert_eq!((report.total(), report.is_complete()), (250, true), "{report:?}");
    let lines: BTreeSet<_> = journal.until_len(250).await.into_iter().collect();
    assert_eq!(lines.len(), 250);
    stop(bus).await;
}
