//! `TestRabbitMQMultipleConsumerGroups`, `TestAdvancedMultipleConsumers`

use std::collections::BTreeSet;

use es_bus::{Handle, Registry};
use es_bus_tests::{Node, Vhost};

use super::{audit, on_placed};
use crate::support::{Journal, Look, builder, placed, run, stop};

#[tokio::test(flavor = "multi_thread")]
async fn multiple_consumer_groups_receive_same_event() {
    let vhost = Node::shared().vhost("groups-same-event");
    let journal = Journal::default();
    let [projections, audit] = [Registry::new().handler::<on_placed>(), audit()]
        .map(|registry| builder(vhost.url(), registry).state(journal.clone()));
    let (projections, audit) = (run(projections).await, run(audit).await);

    projections.publisher().publish(&placed("o-1", 1)).await.expect("two queues take it");

    let mut lines = journal.until_len(2).await;
    lines.sort();
    assert_eq!(lines, ["audit Order.OrderPlaced", "placed o-1 1"]);
    stop(projections).await;
    stop(audit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumer_group_load_balancing() {
    shares("groups-load-balancing", 2, 100, "quorum").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn competing_consumers_load_distribution() {
    shares("competing-consumers", 3, 150, "quorum").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn competing_consumers_on_a_classic_queue() {
    shares("competing-classic", 3, 150, "classic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn multiple_consumer_groups_each_receive_all() {
    let vhost = Node::shared().vhost("groups-receive-all");
    let (one, other) = (Journal::default(), Journal::default());
    let projections = worker(&vhost, Registry::new().handler::<on_placed>(), &one, "quorum").await;
    let audit = worker(&vhost, audit(), &other, "quorum").await;

    publish(&projections, 50).await;

    assert_eq!(one.until_len(50).await.len(), 50);
    assert_eq!(other.until_len(50).await.len(), 50);
    stop(projections).await;
    stop(audit).await;
}

/// So many workers of one group share so many events: each is handled once, and nobody is idle.
async fn shares(name: &str, workers: usize, events: u32, kind: &'static str) {
    let vhost = Node::shared().vhost(name);
    let mut all = Vec::new();
    for _ in 0..workers {
        let journal = Journal::default();
        all.push((worker(&vhost, Registry::new().handler::<on_placed>(), &journal, kind).await, journal));
    }
    Look::at(&vhost).await.until("events.projections", 0, workers as u64).await;

    publish(&all[0].0, events).await;

    let counted = || all.iter().map(|(_, journal)| journal.lines().len()).collect::<Vec<_>>();
    crate::support::soon("every event is handled", || {
        (counted().iter().sum::<usize>() >= events as usize).then_some(())
    });
    let lines: Vec<_> = all.iter().flat_map(|(_, journal)| journal.lines()).collect();
    assert_eq!(lines.len(), events as usize, "none twice");
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), events as usize);
    assert!(counted().iter().all(|handled| *handled > 0), "{:?}", counted());
    for (bus, _) in all {
        stop(bus).await;
    }
}

async fn worker(vhost: &Vhost, registry: Registry, journal: &Journal, kind: &'static str) -> Handle {
    run(builder(vhost.url(), registry).state(journal.clone()).set("prefetch", "1").set("kind", kind)).await
}

async fn publish(bus: &Handle, events: u32) {
    for order in 0..events {
        bus.publisher().publish(&placed(format!("o-{order}"), order)).await.expect("a queue takes it");
    }
}
