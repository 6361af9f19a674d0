//! `TestAdvancedExchangeTypes`

use std::collections::BTreeSet;

use es_bus::{Registry, State, event, exchange, group, handler};
use es_bus_tests::Node;
use serde::{Deserialize, Serialize};

use crate::support::{Journal, left_over, start, stop};

#[exchange(name = "logs", kind = "direct")]
struct Logs;

#[event(aggregate = "Log", exchange = Logs)]
#[derive(Serialize, Deserialize)]
enum LogEvent {
    Error { text: String },
    Warning { text: String },
    Info { text: String },
}

#[group(exchange = Logs)]
struct Alerts;

#[handler(group = Alerts, bind = ["Log.Error", "Log.Warning"], partial)]
async fn alert(event: LogEvent, State(journal): State<Journal>) {
    let (LogEvent::Error { text } | LogEvent::Warning { text } | LogEvent::Info { text }) = event;
    journal.note(format!("alert {text}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_exchange_with_multiple_routing_keys() {
    let vhost = Node::shared().vhost("direct-keys");
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<alert>(), &journal).await;

    for event in [
        LogEvent::Info { text: "started".to_owned() },
        LogEvent::Error { text: "disk full".to_owned() },
        LogEvent::Warning { text: "disk nearly full".to_owned() },
    ] {
        bus.publisher().publish(&event).await.expect("nobody has to take it");
    }

    let lines: BTreeSet<_> = journal.until_len(2).await.into_iter().collect();
    assert_eq!(lines, ["alert disk full", "alert disk nearly full"].map(str::to_owned).into());
    assert_eq!(bus.counts().unroutable, 1, "nobody is bound to the third");
    stop(bus).await;
}

#[exchange(name = "prices", kind = "fanout")]
struct Prices;

#[event(aggregate = "Price", exchange = Prices)]
#[derive(Serialize, Deserialize)]
struct PriceChanged {
    book: String,
}

#[group(exchange = Prices)]
struct Shop;

#[group(exchange = Prices)]
struct Search;

#[handler(group = Shop)]
async fn shop(price: PriceChanged, State(journal): State<Journal>) {
    journal.note(format!("shop {}", price.book));
}

#[handler(group = Search)]
async fn search(price: PriceChanged, State(journal): State<Journal>) {
    journal.note(format!("search {}", price.book));
}

#[tokio::test(flavor = "multi_thread")]
async fn fanout_exchange_broadcasts_to_multiple_queues() {
    let vhost = Node::shared().vhost("fanout-queues");
    let journal = Journal::default();
    let bus = start(&vhost, Registry::new().handler::<shop>().handler::<search>(), &journal).await;

    let price = PriceChanged { book: "b-1".to_owned() };
    bus.publisher().publish(&price).key("whatever").await.expect("two queues take it");

    let lines: BTreeSet<_> = journal.until_len(2).await.into_iter().collect();
    assert_eq!(lines, ["search b-1", "shop b-1"].map(str::to_owned).into());
    stop(bus).await;
}

#[event(aggregate = "Payment")]
#[derive(Serialize, Deserialize)]
struct PaymentReceived {}

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
enum OrderEvent {
    OrderOpened {},
    OrderClosed {},
}

#[handler(group = "orders", bind = "Order.*")]
async fn orders(event: es_bus::RawEvent, State(journal): State<Journal>) {
    journal.note(format!("orders {}", event.routing_key));
}

#[handler(group = "everything", bind = "#")]
async fn everything(event: es_bus::RawEvent, State(journal): State<Journal>) {
    journal.note(format!("everything {}", event.routing_key));
}

#[handler(group = "closed", bind = "*.OrderClosed")]
async fn closed(event: es_bus::RawEvent, State(journal): State<Journal>) {
    journal.note(format!("closed {}", event.routing_key));
}

fn known() -> Registry {
    Registry::new().event::<PaymentReceived>().event::<OrderEvent>()
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_exchange_with_pattern_matching() {
    let vhost = Node::shared().vhost("topic-patterns");
    let journal = Journal::default();
    let registry = known().handler::<orders>().handler::<everything>();
    let bus = start(&vhost, registry, &journal).await;

    bus.publisher().publish(&OrderEvent::OrderOpened {}).await.expect("two queues take it");
    bus.publisher().publish(&PaymentReceived {}).await.expect("one queue takes it");

    let lines: BTreeSet<_> = journal.until_len(3).await.into_iter().collect();
    let expected =
        ["everything Order.OrderOpened", "everything Payment.PaymentReceived", "orders Order.OrderOpened"];
    assert_eq!(lines, expected.map(str::to_owned).into());
    stop(bus).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_exchange_selective_pattern() {
    let vhost = Node::shared().vhost("topic-selective");
    let journal = Journal::default();
    let bus = start(&vhost, known().handler::<closed>(), &journal).await;

    bus.publisher().publish(&OrderEvent::OrderOpened {}).await.expect("nobody has to take it");
    bus.publisher().publish(&OrderEvent::OrderClosed {}).await.expect("one queue takes it");

    assert_eq!(journal.until_len(1).await, ["closed Order.OrderClosed"]);
    assert_eq!(bus.counts().unroutable, 1);
    assert_eq!(left_over(&vhost).await, []);
    assert_eq!(journal.lines().len(), 1);
    stop(bus).await;
}
