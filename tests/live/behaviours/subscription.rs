//! TestRabbitMQEventBusSubscription, and what its sisters say of subscribers.

use es_bus::{Handle, RawEvent, Registry};
use es_bus_tests::{Node, Vhost};

use crate::support::{Journal, Look, OrderPlaced, OrderShipped, left_over, placed, publisher, shipped, stop};

/// A bus that knows its events and has no handler yet.
async fn connected(name: &str) -> (Vhost, Journal, Handle) {
    let vhost = Node::shared().vhost(name);
    let registry = Registry::new().event::<OrderPlaced>().event::<OrderShipped>();
    let bus = publisher(vhost.url(), registry).await;
    (vhost, Journal::default(), bus)
}

/// Notes the orders that are placed under a word.
fn noting(journal: &Journal, word: &'static str) -> impl es_bus::HandlerFn<(OrderPlaced,)> + use<> {
    let journal = journal.clone();
    move |order: OrderPlaced| {
        journal.note(format!("{word} {}", order.order_id));
        async {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribe_and_receive() {
    let (_vhost, journal, bus) = connected("subscribe-and-receive").await;

    let _subscription = bus.subscriptions().subscribe("g", noting(&journal, "saw")).await.expect("taken");
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");

    assert_eq!(journal.until_len(1).await, ["saw o-1"]);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribe_multiple_handlers() {
    let (_vhost, journal, bus) = connected("subscribe-multiple-handlers").await;

    let _one = bus.subscriptions().subscribe("g", noting(&journal, "one")).await.expect("taken");
    let _two = bus.subscriptions().subscribe("g", noting(&journal, "two")).await.expect("taken");
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");

    let mut lines = journal.until_len(2).await;
    lines.sort();
    assert_eq!(lines, ["one o-1", "two o-1"]);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribe_to_all_events() {
    let (_vhost, journal, bus) = connected("subscribe-to-all-events").await;
    let notes = journal.clone();
    let subscribe = bus.subscriptions().subscribe_to_all("g", move |event: RawEvent| {
        notes.note(event.event_type.unwrap_or_default());
        async {}
    });
    let _subscription = subscribe.await.expect("taken");

    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");
    bus.publisher().publish(&shipped("o-1")).await.expect("routed");

    let mut lines = journal.until_len(2).await;
    lines.sort();
    assert_eq!(lines, ["OrderPlaced", "OrderShipped"]);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsubscribe() {
    let (_vhost, journal, bus) = connected("unsubscribe").await;
    let going = bus.subscriptions().subscribe("g", noting(&journal, "going")).await.expect("taken");
    let _staying = bus.subscriptions().subscribe("g", noting(&journal, "staying")).await.expect("taken");

    going.unsubscribe().await;
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");

    assert_eq!(journal.until_len(1).await, ["staying o-1"]);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriber_counts() {
    let (_vhost, journal, bus) = connected("subscriber-counts").await;
    let subscriptions = bus.subscriptions();

    let _one = subscriptions.subscribe("g", noting(&journal, "one")).await.expect("taken");
    let _two = subscriptions.subscribe("g", noting(&journal, "two")).await.expect("taken");
    let _all = subscriptions.subscribe_to_all("audit", |_: RawEvent| async {}).await.expect("taken");

    let count = subscriptions.subscribers();
    assert_eq!((count.total, count.wildcard), (3, 1));
    assert_eq!((count.of::<OrderPlaced>(), count.of::<OrderShipped>()), (2, 0));
    stop(bus).await;
}

/// Here they wait in the queue instead of being acknowledged: a later subscriber gets them.
#[tokio::test(flavor = "multi_thread")]
async fn clear_subscribers() {
    let (vhost, journal, bus) = connected("clear-subscribers").await;
    let one = bus.subscriptions().subscribe("g", noting(&journal, "one")).await.expect("taken");
    let two = bus.subscriptions().subscribe("g", noting(&journal, "two")).await.expect("taken");

    drop((one, two));
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");

    assert_eq!(bus.subscriptions().subscribers().total, 0);
    Look::at(&vhost).await.until("events.g", 1, 0).await;
    assert_eq!(journal.lines(), [""; 0]);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_handlers_for_event() {
    let (vhost, journal, bus) = connected("no-handlers-for-event").await;
    let _subscription = bus.subscriptions().subscribe("g", noting(&journal, "saw")).await.expect("taken");

    // A wide binding brings what nobody asked for.
    bus.subscriptions().bind("g", "Order.*").await.expect("taken");
    bus.publisher().publish(&shipped("o-1")).await.expect("routed");
    bus.publisher().publish(&placed("o-1", 1)).await.expect("routed");

    journal.until_len(1).await;
    assert_eq!(left_over(&vhost).await, [], "it is acknowledged, and counted");
    assert_eq!(bus.counts().skipped, 1);
    stop(bus).await;
}
