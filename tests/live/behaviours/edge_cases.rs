//! `TestRabbitMQEventBusEdgeCases`; its `clear_subscribers` stands in `subscription.rs`

use es_bus::Registry;
use es_bus_tests::Node;

use super::{on_placed, on_shipped, projections};
use crate::support::{Journal, Look, builder, placed, publisher, run, shipped, soon, stop, take};

/// Differs: Python acknowledges an event that it does not know. In a group with exact bindings it
/// waits for a replica that knows it, and then lies in the dead-letter queue; nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn consume_unknown_event_type() {
    let vhost = Node::shared().vhost("unknown-event-type");
    let journal = Journal::default();
    let newer = run(builder(vhost.url(), Registry::new().handler::<on_placed>().handler::<on_shipped>())
        .state(journal.clone()))
    .await;
    stop(newer).await;
    let older = builder(vhost.url(), Registry::new().handler::<on_placed>())
        .state(journal.clone())
        .set("unknown_delay", "100ms")
        .set("unknown_retries", "2");
    let older = run(older).await;

    let other = publisher(vhost.url(), Registry::new().event::<crate::support::OrderShipped>()).await;
    other.publisher().publish(&shipped("o-1")).await.expect("the newer replica bound the queue");

    let dead = take(&vhost, "events.projections.dlq", 1).await;
    assert_eq!(dead[0].message.headers.get_str("x-es-reason"), Some("unknown_event"));
    assert_eq!(older.counts().waited, 2);
    older.publisher().publish(&placed("o-2", 1)).await.expect("one queue takes it");
    assert_eq!(journal.until_len(1).await, ["placed o-2 1"], "and the group goes on");
    stop(older).await;
    stop(other).await;
}

/// An event that a wide binding brings, and that nobody takes, is acknowledged and counted.
#[tokio::test(flavor = "multi_thread")]
async fn no_handlers_for_event() {
    let (vhost, journal, bus) = projections("no-handlers-for-event").await;
    bus.subscriptions().bind("projections", "Order.#").await.expect("the broker takes it");
    let other = publisher(vhost.url(), Registry::new()).await;

    let message = es_bus::message::Message { body: b"{}".to_vec().into(), ..Default::default() };
    let events = es_bus::name::ExchangeName::new("events").expect("a name");
    other.publisher().publish_message(events, "Order.OrderLost", message).await.expect("it is bound");

    soon("the event is skipped", || (bus.counts().skipped == 1).then_some(()));
    Look::at(&vhost).await.until("events.projections", 0, 1).await;
    assert_eq!(journal.lines(), Vec::<String>::new());
    stop(bus).await;
    stop(other).await;
}
