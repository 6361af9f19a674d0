//! `TestAdvancedBatchPublishing`, `TestRabbitMQEventBusPerformance`
//!
//! How fast it is, the benchmarks tell; here it is that a large batch is complete.

use std::collections::BTreeSet;

use es_bus::Registry;
use es_bus_tests::Node;

use super::projections;
use crate::support::{OrderPlaced, builder, placed, run, stop};

fn orders(count: u32) -> Vec<OrderPlaced> {
    (0..count).map(|order| placed(format!("o-{order}"), order)).collect()
}

async fn publishes_all(name: &str, count: u32) {
    let (_vhost, journal, bus) = projections(name).await;

    let report = bus.publisher().publish_all(&orders(count)).await;

    assert_eq!((report.total(), report.is_complete()), (count as usize, true), "{report:?}");
    assert_eq!(bus.counts().published, u64::from(count));
    let lines: BTreeSet<_> = journal.until_len(count as usize).await.into_iter().collect();
    assert_eq!(lines.len(), count as usize, "each once");
    assert_eq!(journal.lines().len(), count as usize);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_publish_performance() {
    publishes_all("batch-performance", 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn high_throughput_publish_consume() {
    publishes_all("high-throughput", 1000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_batch_publish_performance() {
    publishes_all("batch-large", 2000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_publish_with_order_preservation() {
    let (_vhost, journal, bus) = projections("batch-order").await;
    let orders: Vec<_> = (0..300).map(|total| placed("o-1", total)).collect();

    let report = bus.publisher().publish_all(&orders).await;

    assert!(report.is_complete(), "{report:?}");
    let expected: Vec<_> = (0..300).map(|total| format!("placed o-1 {total}")).collect();
    assert_eq!(journal.until_len(300).await, expected);
    stop(bus).await;
}

/// Events of different aggregates go out beside each other.
#[tokio::test(flavor = "multi_thread")]
async fn batch_publish_concurrent_mode() {
    publishes_all("batch-concurrent", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_publish_empty_batch() {
    let (_vhost, _, bus) = projections("batch-empty").await;

    let report = bus.publisher().publish_all(&orders(0)).await;

    assert_eq!((report.total(), report.is_complete()), (0, true));
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_publish_single_event() {
    publishes_all("batch-single", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_publish_verify_all_received() {
    publishes_all("batch-all-received", 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_chunking_behavior() {
    let vhost = Node::shared().vhost("batch-chunks");
    let builder = builder(vhost.url(), Registry::new().event::<OrderPlaced>()).set("publish_batch", "10");
    let bus = run(builder.publish_only()).await;

    let report = bus.publisher().publish_all(&orders(25)).await;

    assert_eq!((report.total(), report.chunks, report.published.len()), (25, 3, 25), "{report:?}");
    stop(bus).await;
}
