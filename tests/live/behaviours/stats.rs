//! `TestRabbitMQEventBusStats`, `TestRabbitMQReliabilityStats`, `TestRabbitMQReliabilityQueueInfo`;
//! `subscriber_counts` stands in `subscription.rs`, `dlq_stats_tracking` in `dead_letters.rs`

use es_bus::{Handle, Registry, State, handler};
use es_bus_tests::{Node, Vhost};

use super::projections;
use crate::support::{Journal, Look, OrderPlaced, Victim, builder, placed, run, soon, stop};

#[handler(group = "shaky", retries = 0)]
async fn refuse_odd(order: OrderPlaced, State(journal): State<Journal>) -> Result<(), String> {
    journal.note(format!("tried {}", order.order_id));
    if order.total % 2 == 1 { Err("odd".to_owned()) } else { Ok(()) }
}

/// A handler that fails for each second order, and so many orders.
async fn shaky(name: &str, orders: u32) -> (Vhost, Handle) {
    let vhost = Node::shared().vhost(name);
    let builder = builder(vhost.url(), Registry::new().handler::<refuse_odd>());
    let bus = run(builder.state(Journal::default())).await;
    for order in 0..orders {
        bus.publisher().publish(&placed(format!("o-{order}"), order)).await.expect("one queue takes it");
    }
    let done = || {
        let stats = bus.stats();
        let handled = stats.events_processed_success + stats.events_processed_failed;
        handled == u64::from(orders) && stats.in_flight == 0
    };
    soon("all are handled", || done().then_some(()));
    (vhost, bus)
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_tracking_publish() {
    let (_vhost, _, bus) = projections("stats-publish").await;
    assert_eq!((bus.stats().events_published, bus.stats().last_publish_at), (0, None));

    for order in 0..3 {
        bus.publisher().publish(&placed(format!("o-{order}"), order)).await.expect("one queue takes it");
    }

    let stats = bus.stats();
    assert_eq!((stats.events_published, stats.publish_confirms, stats.publish_returns), (3, 3, 0));
    assert!(stats.last_publish_at.is_some());
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_tracking_consume() {
    let (_vhost, bus) = shaky("stats-consume", 4).await;

    let stats = bus.stats();
    assert_eq!((stats.events_consumed, stats.events_processed_success), (4, 2), "deliveries, not successes");
    assert!(stats.last_consume_at.is_some() && stats.is_consuming);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_tracking_handler_errors() {
    let (_vhost, bus) = shaky("stats-errors", 4).await;

    let stats = bus.stats();
    assert_eq!((stats.handler_errors, stats.events_processed_failed, stats.messages_sent_to_dlq), (2, 2, 2));
    assert!(stats.last_error_at.is_some());
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_accurately_track_operations() {
    let (_vhost, bus) = shaky("stats-accurate", 10).await;

    let stats = bus.stats();
    assert_eq!(
        [
            stats.events_published,
            stats.events_consumed,
            stats.events_processed_success,
            stats.events_processed_failed,
            stats.messages_sent_to_dlq,
            stats.reconnections,
            stats.in_flight,
        ],
        [10, 10, 5, 5, 5, 0, 0]
    );
    assert_eq!(bus.dead_letters("shaky").expect("a group").count().await.expect("it is there"), 5);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_stats_clears_counters() {
    let (_vhost, bus) = shaky("stats-reset", 4).await;

    bus.reset_stats();

    let stats = bus.stats();
    assert_eq!((stats.events_published, stats.events_consumed, stats.handler_errors), (0, 0, 0));
    assert!(stats.is_connected && stats.is_consuming, "what is so stays so");
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_dict_returns_serializable_format() {
    let (_vhost, bus) = shaky("stats-json", 2).await;

    let json = serde_json::to_value(bus.stats()).expect("it is plain data");

    for name in [
        "events_published",
        "events_consumed",
        "events_processed_success",
        "events_processed_failed",
        "messages_sent_to_dlq",
        "handler_errors",
        "reconnections",
        "publish_confirms",
        "publish_returns",
        "batch_publishes",
        "batch_events_published",
        "batch_partial_failures",
        "uptime_seconds",
    ] {
        assert!(json[name].is_number(), "{name} in {json}");
    }
    for name in ["last_publish_at", "last_consume_at", "last_error_at", "connected_at"] {
        assert!(json[name].as_str().is_some_and(|text| text.ends_with('Z')), "{name} in {json}");
    }
    assert_eq!((&json["is_connected"], &json["is_consuming"]), (&true.into(), &true.into()));
    stop(bus).await;
}

/// A failed run is a handler's error; a delivery is processed or not, however many handlers it had.
#[handler(group = "both", retries = 0)]
async fn one_fails(_order: OrderPlaced) -> Result<(), String> {
    Err("no".to_owned())
}

#[handler(group = "both", retries = 0)]
async fn other_fails(_order: OrderPlaced) -> Result<(), String> {
    Err("no".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_errors_tracked_separately() {
    let vhost = Node::shared().vhost("stats-separate");
    let registry = Registry::new().handler::<one_fails>().handler::<other_fails>();
    let bus = run(builder(vhost.url(), registry)).await;

    bus.publisher().publish(&placed("o-1", 1)).await.expect("one queue takes it");
    soon("it is dead-lettered", || {
        let stats = bus.stats();
        (stats.messages_sent_to_dlq == 2 && stats.events_processed_failed == 1).then_some(())
    });

    let stats = bus.stats();
    assert_eq!((stats.handler_errors, stats.events_processed_failed, stats.messages_sent_to_dlq), (2, 1, 2));
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_info_returns_valid_data() {
    let (vhost, _, bus) = projections("queue-info").await;
    bus.subscriptions().pause("projections").await.expect("a group");
    Look::at(&vhost).await.until("events.projections", 0, 0).await;
    for order in 0..3 {
        bus.publisher().publish(&placed(format!("o-{order}"), order)).await.expect("one queue takes it");
    }

    let info = bus.queue_info("projections").await.expect("the broker answers");

    assert_eq!(info.name, "events.projections");
    assert_eq!((info.message_count, info.consumer_count, info.dlq_message_count), (3, 0, Some(0)), "fresh");
    assert_eq!(serde_json::to_value(&info).expect("plain data")["state"], "idle");
    bus.subscriptions().resume("projections").await.expect("a group");
    Look::at(&vhost).await.until("events.projections", 0, 1).await;
    let info = bus.queue_info("projections").await.expect("the broker answers");
    assert_eq!(serde_json::to_value(&info).expect("plain data")["state"], "running");
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_check_reports_healthy_status() {
    let (vhost, _, bus) = projections("health-healthy").await;
    Look::at(&vhost).await.until("events.projections", 0, 1).await;

    let health = bus.health().await;

    assert!(health.healthy && health.live && health.ready, "{health:?}");
    assert_eq!((health.error, health.queue_status.as_str()), (None, "accessible"));
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_check_reports_unhealthy_when_disconnected() {
    let mut node = Victim::get().await;
    let vhost = node.vhost("health-unhealthy");
    let registry = Registry::new().handler::<refuse_odd>();
    // A quorum queue of 3.10 that is killed just after its declaration may have no leader for a minute.
    let builder = builder(vhost.url(), registry).set_for_group("shaky", "kind", "classic");
    let bus = run(builder.state(Journal::default())).await;

    tokio::task::block_in_place(|| node.kill9());
    soon("the loss is noticed", || (!bus.stats().is_connected).then_some(()));
    let health = bus.health().await;

    assert!(!health.healthy && !health.ready && health.live, "{health:?}");
    assert!(health.error.is_some(), "{health:?}");
    tokio::task::block_in_place(|| node.restart());
    soon("it is there again", || bus.stats().is_consuming.then_some(()));
    assert!(bus.health().await.healthy);
    assert_eq!(bus.stats().reconnections, 1);
    stop(bus).await;
}
