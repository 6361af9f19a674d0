//! Lists of events, and messages that are no events.

use std::time::Duration;

use es_bus::{
    AnyEvent, PublishError, RawEvent, Registry, State, event, handler, publish::Publish, testing::TestBus,
};
use serde::{Deserialize, Serialize};

use crate::support::{InvoiceSent, Journal, OrderPlaced, OrderShipped, placed, shipped};

#[event]
#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed(OrderPlaced),
    Shipped(OrderShipped),
}

#[handler(group = "inbox", bind = "#", foreign)]
async fn receive(raw: RawEvent, State(journal): State<Journal>) {
    journal.note(&raw.routing_key);
}

async fn bus(journal: &Journal, batch: &str) -> TestBus {
    let registry = Registry::new()
        .handler::<receive>()
        .event::<OrderPlaced>()
        .event::<OrderShipped>()
        .event::<InvoiceSent>();
    TestBus::start(|builder| {
        builder.registry(registry).state(journal.clone()).set("publish_batch", batch.to_owned())
    })
    .await
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn events_of_several_types_go_out_in_one_list() {
    let journal = Journal::default();
    let bus = bus(&journal, "100").await;
    let publisher = bus.publisher();

    let set = [OrderEvent::Placed(placed("o-1")), OrderEvent::Shipped(shipped("o-1"))];
    publisher.publish_all(&set).await.into_result().unwrap();
    bus.run_until_idle().await;
    let boxes: Vec<Box<dyn AnyEvent>> = vec![Box::new(placed("o-2")), Box::new(shipped("o-2"))];
    publisher.publish_all(&boxes).await.into_result().unwrap();
    bus.run_until_idle().await;
    let (first, second) = (placed("o-3"), shipped("o-3"));
    publisher.publish_all([&first as &dyn AnyEvent, &second]).await.into_result().unwrap();
    bus.run_until_idle().await;
    let said = [publisher.publish(&first), publisher.publish(&second).id("e-1").key("Order.Late")];
    let ids = publisher.publish_all(said).await.into_result().unwrap();
    bus.run_until_idle().await;

    assert_eq!(ids[1], "e-1");
    let twice = ["Order.OrderPlaced", "Order.OrderShipped"];
    let expected: Vec<&str> =
        [twice, twice, twice].concat().into_iter().chain(["Order.OrderPlaced", "Order.Late"]).collect();
    assert_eq!(journal.lines(), expected);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_list_is_told_in_chunks_and_may_be_any_length() {
    let bus = bus(&Journal::default(), "10").await;
    let publisher = bus.publisher();
    let orders: Vec<_> = (0..95).map(|number| placed(&format!("o-{}", number % 40))).collect();

    let report = publisher.publish_all(&orders).await;

    assert_eq!((report.total(), report.published.len(), report.failed.len(), report.chunks), (95, 95, 0, 10));
    let none = publisher.publish_all(std::iter::empty::<&OrderPlaced>()).await;
    assert_eq!((none.total(), none.chunks, none.is_complete()), (0, 0, true));
    let one = publisher.publish_all([&placed("o-1")]).await;
    assert_eq!((one.total(), one.chunks), (1, 1));
    assert_eq!(bus.counts().published, 96);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_list_holds_no_more_than_a_window_of_its_events() {
    let bus = bus(&Journal::default(), "5").await;
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let orders: Vec<_> = (0..20).map(|number| placed(&format!("o-{number}"))).collect();

    bus.broker().faults().block("memory");
    let publisher = bus.publisher().clone();
    let counted = taken.clone();
    let publishing = tokio::spawn(async move {
        let lazily = orders.iter().inspect(|_| {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        });
        publisher.publish_all(lazily).await
    });
    crate::support::at_rest().await;
    assert_eq!(taken.load(std::sync::atomic::Ordering::SeqCst), 5);
    bus.broker().faults().unblock();

    assert_eq!(publishing.await.unwrap().published.len(), 20);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_list_in_order_stops_at_the_first_that_fails() {
    let journal = Journal::default();
    let bus = bus(&journal, "100").await;
    let publisher = bus.publisher();
    let (placed, shipped, invoice) = (placed("o-1"), shipped("o-2"), InvoiceSent { number: 1 });
    let all = || [&placed as &dyn AnyEvent, &shipped, &invoice, &placed];

    let report = publisher.publish_all(all()).in_order().await;
    assert!(report.is_complete());
    bus.broker().faults().refuse_publishes(1);
    let report = publisher.publish_all(all()).in_order().await;
    bus.run_until_idle().await;

    assert_eq!(
        journal.lines(),
        ["Order.OrderPlaced", "Order.OrderShipped", "Invoice.InvoiceSent", "Order.OrderPlaced"]
    );
    assert!(report.published.is_empty());
    let failed: Vec<_> = report.failed.iter().map(|failed| (failed.index, failed.error.is_some())).collect();
    assert_eq!(failed, [(0, true), (1, false), (2, false), (3, false)]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_encoded_holds_back_its_aggregate_alone() {
    let journal = Journal::default();
    let bus = bus(&journal, "2").await;
    let publisher = bus.publisher();
    let (a, b) = (placed("a"), placed("b"));
    let publish = |event, version| publisher.publish(event).aggregate_version(version);

    let list: [Publish<'_>; 5] =
        [publish(&a, 1), publish(&a, 0), publish(&b, 1), publish(&a, 2), publish(&b, 2)];
    let report = publisher.publish_all(list).await;

    assert_eq!(report.published.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 2, 4]);
    let failed: Vec<_> = report.failed.iter().map(|failed| (failed.index, failed.error.is_some())).collect();
    assert_eq!(failed, [(1, true), (3, false)]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_failed_can_be_sent_again_under_the_id_that_it_had() {
    let registry = Registry::new().handler::<receive>().event::<OrderPlaced>();
    let bus = TestBus::start(|builder| {
        builder.registry(registry).state(Journal::default()).set("publish_timeout", "5s")
    })
    .await
    .unwrap();

    bus.broker().faults().block("memory");
    let report = bus.publisher().publish_all(&[placed("o-1"), placed("o-1")]).await;

    let [first, second] = &report.failed[..] else { panic!("{report:?}") };
    assert!(matches!(first.error, Some(PublishError::TimedOut { .. })));
    assert!(first.id.as_deref().is_some_and(|id| uuid::Uuid::try_parse(id).is_ok()), "{first:?}");
    assert_eq!((second.error.is_none(), &second.id), (true, &None), "never sent");
    bus.broker().faults().unblock();
    bus.publish(&placed("o-1")).id(first.id.clone().unwrap()).await.unwrap();
    bus.stop().await.unwrap();
}

#[handler(group = "legacy", bind = "order.placed", foreign)]
async fn on_legacy(raw: RawEvent, State(journal): State<Journal>) {
    let properties = &raw.received.message.properties;
    journal.note(format!("{}", raw.json::<serde_json::Value>().unwrap()));
    journal.note(format!(
        "{:?} {:?} {:?} {:?} {:?} {}",
        properties.content_type,
        properties.message_id,
        properties.correlation_id,
        properties.priority,
        properties.expiration,
        properties.persistent
    ));
    journal.note(format!("{:?}", raw.received.message.headers.get_str("x-source")));
}

#[tokio::test(start_paused = true)]
async fn json_of_no_declared_event_goes_to_any_exchange_as_it_is() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<on_legacy>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();
    let publisher = bus.publisher();
    let body = serde_json::json!({ "order_id": "o-1" });

    let id = publisher
        .raw("events", "order.placed")
        .json(&body)
        .message_id("m-1")
        .correlation_id("c-1")
        .priority(5)
        .ttl(Duration::from_secs(60))
        .transient()
        .header("x-source", "shop")
        .await
        .unwrap();
    bus.run_until_idle().await;

    assert_eq!(id, "m-1");
    assert_eq!(
        journal.lines(),
        [
            r#"{"order_id":"o-1"}"#,
            r#"Some("application/json") Some("m-1") Some("c-1") Some(5) Some("60000") false"#,
            r#"Some("shop")"#
        ]
    );
    let unroutable = publisher.raw("events", "nobody.cares").json(&body).await.unwrap_err();
    assert!(matches!(unroutable, PublishError::Unroutable { .. }), "{unroutable:?}");
    publisher.raw("events", "nobody.cares").json(&body).optional().await.unwrap();
    let missing = publisher.raw("elsewhere", "order.placed").json(&body).await.unwrap_err();
    assert!(matches!(missing, PublishError::NoExchange { .. }), "{missing:?}");
    let name = publisher.raw("amq.topic\n", "order.placed").json(&body).await.unwrap_err();
    assert!(matches!(name, PublishError::Encode(_)), "{name:?}");
    let ttl = publisher.raw("events", "order.placed").ttl(Duration::ZERO).await.unwrap_err();
    assert!(matches!(ttl, PublishError::Encode(_)), "{ttl:?}");
    // The default exchange leads to the queue that the key names.
    publisher.raw("", "events.legacy").json(&body).await.unwrap();
    bus.stop().await.unwrap();
}
