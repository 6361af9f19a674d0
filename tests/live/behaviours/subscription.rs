//! `TestRabbitMQEventBusSubscription`, and of `TestRabbitMQEventBusEdgeCases` and
//! `TestRabbitMQEventBusStats` what is about subscribers

use std::collections::BTreeSet;

use es_bus::{Handle, RawEvent, Registry, Subscription};
use es_bus_tests::{Node, Vhost};

use crate::support::{Journal, Look, OrderPlaced, OrderShipped, placed, publisher, shipped, stop};

/// A bus that handles what is subscribed, and nothing else.
async fn bare(name: &str) -> (Vhost, Journal, Handle) {
    let vhost = Node::shared().vhost(name);
    let registry = Registry::new().event::<OrderPlaced>().event::<OrderShipped>();
    let bus = publisher(vhost.url(), registry).await;
    (vhost, Journal::default(), bus)
}

/// Notes every order that is placed, under a name.
async fn noting(bus: &Handle, journal: &Journal, name: &str) -> Subscription {
    let (journal, of) = (journal.clone(), name.to_owned());
    let handler = move |order: OrderPlaced| {
        let line = format!("{of} {}", order.order_id);
        let journal = journal.clone();
        async move { journal.note(line) }
    };
    bus.subscriptions().subscribe("projections", handler).name(name).await.expect("the broker takes it")
}

async fn noting_all(bus: &Handle, journal: &Journal, group: &str) -> Subscription {
    let journal = journal.clone();
    let handler = move |event: RawEvent| {
        let journal = journal.clone();
        async move { journal.note(format!("all {}", event.routing_key)) }
    };
    bus.subscriptions().subscribe_to_all(group, handler).await.expect("the broker takes it")
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribe_and_receive() {
    let (_vhost, journal, bus) = bare("subscribe-and-receive").await;
    noting(&bus, &journal, "one").await.keep();

    bus.publisher().publish(&placed("o-1", 1)).await.expect("one queue takes it");

    assert_eq!(journal.until_len(1).await, ["one o-1"]);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribe_multiple_handlers() {
    let (_vhost, journal, bus) = bare("subscribe-multiple").await;
    noting(&bus, &journal, "one").await.keep();
    noting(&bus, &journal, "two").await.keep();

    bus.publisher().publish(&placed("o-1", 1)).await.expect("one queue takes it");

    let mut lines = journal.until_len(2).await;
    lines.sort();
    assert_eq!(lines, ["one o-1", "two o-1"]);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribe_to_all_events() {
    let (_vhost, journal, bus) = bare("subscribe-to-all").await;
    noting_all(&bus, &journal, "audit").await.keep();

    bus.publisher().publish(&placed("o-1", 1)).await.expect("one queue takes it");
    bus.publisher().publish(&shipped("o-1")).await.expect("one queue takes it");

    let lines: BTreeSet<_> = journal.until_len(2).await.into_iter().collect();
    assert_eq!(lines, ["all Order.OrderPlaced", "all Order.OrderShipped"].map(str::to_owned).into());
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsubscribe() {
    let (_vhost, journal, bus) = bare("unsubscribe").await;
    let one = noting(&bus, &journal, "one").await;
    noting(&bus, &journal, "two").await.keep();
    bus.publisher().publish(&placed("o-1", 1)).await.expect("one queue takes it");
    journal.until_len(2).await;

    one.unsubscribe().await;
    bus.publisher().publish(&placed("o-2", 1)).await.expect("one queue takes it");
    bus.publisher().publish(&placed("o-3", 1)).await.expect("one queue takes it");

    journal.until("the other one's", |lines| lines.contains(&"two o-3".to_owned())).await;
    assert_eq!(journal.of("one"), ["one o-1"]);
    stop(bus).await;
}

/// `TestRabbitMQEventBusStats`
#[tokio::test(flavor = "multi_thread")]
async fn subscriber_counts() {
    let (_vhost, journal, bus) = bare("subscriber-counts").await;
    noting(&bus, &journal, "one").await.keep();
    let two = noting(&bus, &journal, "two").await;
    noting_all(&bus, &journal, "audit").await.keep();

    let counts = bus.subscriptions().subscribers();
    assert_eq!((counts.total, counts.wildcard, counts.of::<OrderPlaced>()), (3, 1, 2));
    assert_eq!(counts.of::<OrderShipped>(), 0);

    drop(two);

    let counts = bus.subscriptions().subscribers();
    assert_eq!((counts.total, counts.of::<OrderPlaced>()), (2, 1));
    stop(bus).await;
}

/// `TestRabbitMQEventBusEdgeCases`. A guard that is dropped ends its subscription: there is nothing
/// that clears all behind the back of those who hold them.
#[tokio::test(flavor = "multi_thread")]
async fn clear_subscribers() {
    let (vhost, journal, bus) = bare("clear-subscribers").await;
    let all = [
        noting(&bus, &journal, "one").await,
        noting(&bus, &journal, "two").await,
        noting_all(&bus, &journal, "audit").await,
    ];

    for subscription in all {
        subscription.unsubscribe().await;
    }

    assert_eq!(bus.subscriptions().subscribers().total, 0);
    let look = Look::at(&vhost).await;
    look.until("events.projections", 0, 0).await;
    bus.publisher().publish(&placed("o-1", 1)).await.expect("the queues stay");
    look.until("events.projections", 1, 0).await;
    assert_eq!(journal.lines(), Vec::<String>::new());
    stop(bus).await;
}
