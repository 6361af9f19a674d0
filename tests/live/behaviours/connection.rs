//! `TestRabbitMQEventBusConnection`

use es_bus::Registry;
use es_bus_tests::Node;

use super::{on_placed, projections};
use crate::support::{Journal, Look, placed, start, stop};

#[tokio::test(flavor = "multi_thread")]
async fn connect_and_disconnect() {
    let (vhost, _, bus) = projections("connect-and-disconnect").await;
    let look = Look::at(&vhost).await;
    look.until("events.projections", 0, 1).await;

    stop(bus).await;

    look.until("events.projections", 0, 0).await;
}

/// Python's `async with`: dropped, the bus ends too, and what it had in hand goes back.
#[tokio::test(flavor = "multi_thread")]
async fn context_manager() {
    let (vhost, _, bus) = projections("context-manager").await;
    let look = Look::at(&vhost).await;
    look.until("events.projections", 0, 1).await;

    drop(bus);

    look.until("events.projections", 0, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_creates_exchange_and_queue() {
    let (vhost, _, bus) = projections("creates-exchange").await;

    let exchanges = tokio::task::block_in_place(|| vhost.exchanges());
    let events = exchanges.iter().find(|exchange| exchange.name == "events").expect("it was declared");
    assert_eq!((events.kind.as_str(), events.durable), ("topic", true));
    let queue = tokio::task::block_in_place(|| vhost.queue("events.projections")).expect("it was declared");
    assert!(queue.durable);
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_creates_dlq_when_enabled() {
    let (vhost, _, bus) = projections("creates-dlq").await;

    let exchanges = tokio::task::block_in_place(|| vhost.exchanges());
    let dlx = exchanges.iter().find(|exchange| exchange.name == "events_dlq").expect("it was declared");
    assert_eq!(dlx.kind, "direct");
    assert!(tokio::task::block_in_place(|| vhost.queue("events.projections.dlq")).is_some());
    let bindings = tokio::task::block_in_place(|| vhost.bindings());
    assert!(
        bindings.iter().any(|binding| binding.source == "events_dlq"
            && binding.destination == "events.projections.dlq"
            && binding.routing_key == "events.projections"),
        "{bindings:?}"
    );
    stop(bus).await;
}

#[es_bus::group(on_exhausted = "drop")]
struct Careless;

#[es_bus::handler(group = Careless)]
async fn careless(order: crate::support::OrderPlaced) {
    drop(order);
}

/// Without dead letters an event that is given up is dropped: that has to be asked for.
#[tokio::test(flavor = "multi_thread")]
async fn connect_without_dlq() {
    let vhost = Node::shared().vhost("without-dlq");
    let bus = start(&vhost, Registry::new().handler::<careless>(), &Journal::default()).await;

    let queues = tokio::task::block_in_place(|| vhost.queues());
    assert!(queues.iter().any(|queue| queue.name == "events.careless"), "{queues:?}");
    assert!(!queues.iter().any(|queue| queue.name.ends_with(".dlq")), "{queues:?}");
    stop(bus).await;
}

/// A `Bus` is started once, by value; a second one beside it declares the same, which changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn double_connect_is_safe() {
    let vhost = Node::shared().vhost("double-connect");
    let journal = Journal::default();
    let registry = || Registry::new().handler::<on_placed>();
    let one = start(&vhost, registry(), &journal).await;
    let before = tokio::task::block_in_place(|| vhost.bindings()).len();

    let other = start(&vhost, registry(), &journal).await;

    assert_eq!(tokio::task::block_in_place(|| vhost.bindings()).len(), before);
    one.publisher().publish(&placed("o-1", 1)).await.expect("one queue takes it");
    assert_eq!(journal.until_len(1).await, ["placed o-1 1"]);
    stop(one).await;
    stop(other).await;
}
