//! `TestRabbitMQEventBusPublishing`

use es_bus::Registry;
use es_bus_tests::Node;

use super::{audit, projections};
use crate::support::{Journal, OrderPlaced, builder, placed, shipped, start, stop};

#[tokio::test(flavor = "multi_thread")]
async fn publish_single_event() {
    let (_vhost, journal, bus) = projections("publish-single").await;

    bus.publisher().publish(&placed("o-1", 1)).await.expect("one queue takes it");

    assert_eq!(bus.counts().published, 1, "it returned, so the broker has it");
    assert_eq!(journal.until_len(1).await, ["placed o-1 1"]);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_multiple_events() {
    let (_vhost, journal, bus) = projections("publish-multiple").await;
    let orders: Vec<_> = (0..10).map(|total| placed("o-1", total)).collect();

    let report = bus.publisher().publish_all(&orders).await;

    assert!(report.is_complete(), "{report:?}");
    let expected: Vec<_> = (0..10).map(|total| format!("placed o-1 {total}")).collect();
    assert_eq!(journal.until_len(10).await, expected, "of one aggregate, so in order");
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_empty_list() {
    let (_vhost, journal, bus) = projections("publish-empty").await;

    let report = bus.publisher().publish_all(&Vec::<OrderPlaced>::new()).await;

    assert!(report.is_complete() && report.total() == 0, "{report:?}");
    assert_eq!(bus.counts().published, 0);
    assert_eq!(journal.lines(), Vec::<String>::new());
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_different_event_types() {
    let vhost = Node::shared().vhost("publish-different");
    let journal = Journal::default();
    let bus = start(&vhost, audit(), &journal).await;

    bus.publisher().publish(&placed("o-1", 1)).await.expect("one queue takes it");
    bus.publisher().publish(&shipped("o-1")).await.expect("one queue takes it");

    let mut lines = journal.until_len(2).await;
    lines.sort();
    assert_eq!(lines, ["audit Order.OrderPlaced", "audit Order.OrderShipped"]);
    stop(bus).await;
}

/// There is no publisher without a bus that was started; a publish waits for a connection that is
/// only just coming up.
#[tokio::test(flavor = "multi_thread")]
async fn publish_with_auto_connect() {
    let vhost = Node::shared().vhost("auto-connect");
    let bus = builder(vhost.url(), Registry::new().event::<OrderPlaced>()).publish_only();
    let started = bus.build().expect("it is complete").start().await.expect("the broker is there");

    started.publisher().publish(&placed("o-1", 1)).await.expect("nobody needs to take it");

    assert_eq!(started.counts().unroutable, 1);
    stop(started).await;
}
