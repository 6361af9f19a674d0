//! A tour in four demos: publish and subscribe, exchange types, consumer groups, projections.
//!
//! Whoever comes from the tutorial of eventsource-py finds its demos here, with the same output;
//! the second really routes what it tells. `cargo run --bin tutorial` runs on the in-process
//! broker, `ES_BUS_URL=amqp://guest:guest@localhost:5672/ cargo run --bin tutorial` on RabbitMQ.
#![expect(clippy::print_stdout, reason = "a demonstration shows what it does")]

use std::{error::Error, sync::Arc, time::Duration};

use es_bus::{Bus, BusBuilder, Envelope, RawEvent, State, Subscriber, event, exchange, group, handler};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::timeout};
use uuid::Uuid;

type Outcome = Result<(), Box<dyn Error>>;

/// A customer placed an order. Published as `Order.OrderPlaced`.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: Uuid,
    customer_id: String,
    total_amount: f64,
}

/// An order left the house. Published as `Order.OrderShipped`.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderShipped {
    order_id: Uuid,
    tracking_number: String,
}

#[tokio::main]
async fn main() -> Outcome {
    heading("Tutorial: RabbitMQ Event Bus");
    println!();
    basic_publish_subscribe().await?;
    exchange_types().await?;
    consumer_groups().await?;
    projections().await?;
    heading("Tutorial Complete!");
    Ok(())
}

/// Demo 1: one closure gets one event.
async fn basic_publish_subscribe() -> Outcome {
    heading("Demo 1: Basic Publish/Subscribe");
    let running = subscribing("demo1").build()?.start().await?;
    println!("Connected");

    let received = watch::Sender::new(0);
    let counter = received.clone();
    let subscriptions = running.subscriptions();
    subscriptions
        .subscribe("demo-consumers", move |order: Envelope<OrderPlaced>| {
            let counter = counter.clone();
            async move {
                println!("  Received: {}", order.metadata.event_type);
                counter.send_modify(|count| *count += 1);
            }
        })
        .await?
        .keep();
    println!("Subscribed handler to OrderPlaced");

    // Not needed: it makes what is printed come in this order.
    subscriptions.pause("demo-consumers").await?;
    let order = OrderPlaced { order_id: Uuid::new_v4(), customer_id: "cust-123".into(), total_amount: 99.99 };
    running.publisher().publish(&order).await?;
    println!("Published OrderPlaced for {}", order.order_id);
    subscriptions.resume("demo-consumers").await?;

    until(&received, |count| *count == 1).await?;
    running.stop().await?;
    println!("Received {} event(s)\n", *received.borrow());
    Ok(())
}

/// By pattern over the routing key: the kind that `#[event]` publishes to unless told otherwise.
#[exchange(name = "demo2.topic", bus = "demo2")]
struct ByTopic;

/// By the routing key itself.
#[exchange(name = "demo2.direct", kind = "direct", bus = "demo2")]
struct ByKey;

/// To every queue.
#[exchange(name = "demo2.fanout", kind = "fanout", bus = "demo2")]
struct ToAll;

/// By the headers of the message.
#[exchange(name = "demo2.headers", kind = "headers", bus = "demo2")]
struct ByHeaders;

#[event(aggregate = "Payment", exchange = ByTopic, bus = "demo2")]
#[derive(Serialize, Deserialize)]
enum PaymentEvent {
    PaymentReceived { amount: f64 },
    PaymentRefunded { amount: f64 },
}

#[event(aggregate = "Log", exchange = ByKey, bus = "demo2")]
#[derive(Serialize, Deserialize)]
enum LogEvent {
    Error { text: String },
    Info { text: String },
}

#[event(aggregate = "Price", exchange = ToAll, bus = "demo2")]
#[derive(Serialize, Deserialize)]
struct PricesChanged {}

#[event(aggregate = "Report", exchange = ByHeaders, bus = "demo2")]
#[derive(Serialize, Deserialize)]
struct ReportCreated {
    title: String,
}

#[group(exchange = ByTopic, bus = "demo2")]
struct Ledger;

#[group(exchange = ByKey, bus = "demo2")]
struct Alerts;

#[group(exchange = ToAll, bus = "demo2")]
struct CatalogCache;

#[group(exchange = ToAll, bus = "demo2")]
struct SearchIndex;

#[group(exchange = ByHeaders, bus = "demo2")]
struct PdfArchive;

/// What was handled: the group, and the event.
type Routed = watch::Sender<Vec<(&'static str, String)>>;

#[handler(group = Ledger, bind = "Payment.*", bus = "demo2")]
async fn book(event: RawEvent, State(routed): State<Routed>) {
    note(&routed, "ledger", event);
}

#[handler(group = Alerts, bind = "Log.Error", bus = "demo2")]
async fn alert(event: RawEvent, State(routed): State<Routed>) {
    note(&routed, "alerts", event);
}

#[handler(group = CatalogCache, bus = "demo2")]
async fn drop_prices(_event: PricesChanged, State(routed): State<Routed>) {
    routed.send_modify(|all| all.push(("catalog-cache", "Price.PricesChanged".to_owned())));
}

#[handler(group = SearchIndex, bus = "demo2")]
async fn index_prices(_event: PricesChanged, State(routed): State<Routed>) {
    routed.send_modify(|all| all.push(("search-index", "Price.PricesChanged".to_owned())));
}

#[handler(group = PdfArchive, bind(headers(match = "all", format = "pdf")), bus = "demo2")]
async fn archive(report: ReportCreated, State(routed): State<Routed>) {
    routed.send_modify(|all| all.push(("pdf-archive", format!("report {:?}", report.title))));
}

fn note(routed: &Routed, group: &'static str, event: RawEvent) {
    routed.send_modify(|all| all.push((group, event.routing_key)));
}

/// Demo 2: each kind of exchange picks queues in its own way.
async fn exchange_types() -> Outcome {
    heading("Demo 2: Exchange Types and Routing");
    let routed = Routed::default();
    let running = bus("demo2").name("demo2").state(routed.clone()).build()?.start().await?;
    let publisher = running.publisher();

    println!("RabbitMQ supports several exchange types:\n");
    println!("1. TOPIC (default in es-bus)");
    println!("   - Routes based on routing key patterns");
    println!("   - Supports wildcards: * (one word), # (zero or more)");
    println!("   - Example: 'Order.*' matches 'Order.OrderPlaced', 'Order.OrderShipped'");
    publisher.publish(&PaymentEvent::PaymentReceived { amount: 9.5 }).await?;
    publisher.publish(&PaymentEvent::PaymentRefunded { amount: 9.5 }).await?;
    show_routed(&routed, 2).await?;

    println!("2. DIRECT");
    println!("   - Routes based on exact routing key match");
    println!("   - Use for: specific service targeting, work queues");
    publisher.publish(&LogEvent::Error { text: "disk full".into() }).await?;
    // Nobody is bound to this one: it is counted, and told once.
    publisher.publish(&LogEvent::Info { text: "started".into() }).await?;
    show_routed(&routed, 1).await?;

    println!("3. FANOUT");
    println!("   - Broadcasts to all bound queues");
    println!("   - Ignores routing key");
    println!("   - Use for: notifications, audit logging, cache invalidation");
    publisher.publish(&PricesChanged {}).await?;
    show_routed(&routed, 2).await?;

    println!("4. HEADERS");
    println!("   - Routes based on message headers");
    println!("   - Most flexible but complex");
    let [pdf, xls] = ["q3.pdf", "q3.xls"].map(|title| ReportCreated { title: title.into() });
    publisher.publish(&pdf).header("format", "pdf").await?;
    publisher.publish(&xls).header("format", "xls").await?;
    show_routed(&routed, 1).await?;

    running.stop().await?;
    Ok(())
}

/// Waits for so many deliveries, prints them in the order of their groups, and forgets them.
async fn show_routed(routed: &Routed, count: usize) -> Outcome {
    until(routed, |all| all.len() == count).await?;
    let mut all = routed.send_replace(Vec::new());
    all.sort();
    for (group, event) in all {
        println!("   -> {event} reached {group}");
    }
    println!();
    Ok(())
}

/// Demo 3: two workers share the queue of one group.
async fn consumer_groups() -> Outcome {
    heading("Demo 3: Consumer Groups and Load Balancing");
    let handled = watch::Sender::new(Vec::new());
    let mut workers = Vec::new();
    for number in [1, 2] {
        // One at a time, so that neither takes everything for itself.
        let bus = subscribing("demo3").set("prefetch", "1").set("concurrency", "1").build()?;
        let worker = bus.start().await?;
        let handled = handled.clone();
        let handler = move |order: OrderPlaced| {
            let handled = handled.clone();
            async move {
                println!("  Worker {number} processed: {}", order.order_id);
                handled.send_modify(|all: &mut Vec<u32>| all.push(number));
            }
        };
        worker.subscriptions().subscribe("load-balanced-consumers", handler).await?.keep();
        workers.push(worker);
    }
    println!("Both workers connected");

    println!("\nPublishing 10 events...");
    for order in 1..=10 {
        let placed = OrderPlaced {
            order_id: Uuid::new_v4(),
            customer_id: format!("cust-{order}"),
            total_amount: 10.0 * f64::from(order),
        };
        workers[0].publisher().publish(&placed).await?;
    }
    until(&handled, |all| all.len() == 10).await?;
    for worker in workers {
        worker.stop().await?;
    }

    let handled = handled.borrow();
    let by = |worker| handled.iter().filter(|number| **number == worker).count();
    println!("\nResults:");
    println!("  Worker 1 processed: {} events", by(1));
    println!("  Worker 2 processed: {} events", by(2));
    println!("  Total: {} events\n", handled.len());
    Ok(())
}

/// What a projection takes: the events of orders, as one set.
#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
enum OrderEvent {
    OrderPlaced(OrderPlaced),
    OrderShipped(OrderShipped),
}

/// Keeps order statistics.
#[derive(Default)]
struct OrderStatistics(watch::Sender<Statistics>);

#[derive(Default)]
struct Statistics {
    total_orders: u32,
    total_revenue: f64,
    shipped_count: u32,
}

impl Subscriber for OrderStatistics {
    type Events = OrderEvent;

    async fn handle(&self, event: OrderEvent) -> Result<(), es_bus::HandlerError> {
        match event {
            OrderEvent::OrderPlaced(order) => {
                println!("  [Stats] Order placed: ${:.2}", order.total_amount);
                self.0.send_modify(|statistics| {
                    statistics.total_orders += 1;
                    statistics.total_revenue += order.total_amount;
                });
            }
            OrderEvent::OrderShipped(order) => {
                println!("  [Stats] Order shipped: {}", order.tracking_number);
                self.0.send_modify(|statistics| statistics.shipped_count += 1);
            }
        }
        Ok(())
    }
}

/// Demo 4: an object that takes several events, and an audit log that takes all.
async fn projections() -> Outcome {
    heading("Demo 4: Integration with Projections");
    let running = subscribing("demo4").build()?.start().await?;
    let subscriptions = running.subscriptions();

    let statistics = Arc::new(OrderStatistics::default());
    subscriptions.subscribe_all("projection-consumers", Arc::clone(&statistics)).await?.keep();
    println!("Subscribed statistics projection");

    let audit_log = watch::Sender::new(Vec::new());
    let log = audit_log.clone();
    let audit = move |event: RawEvent| {
        let log = log.clone();
        async move { log.send_modify(|log: &mut Vec<String>| log.push(event.routing_key)) }
    };
    subscriptions.subscribe_to_all("audit", audit).await?.keep();
    println!("Subscribed audit logger to all events");

    let order_id = Uuid::new_v4();
    println!("\nProcessing order: {order_id}");
    let placed = OrderPlaced { order_id, customer_id: "premium-customer".into(), total_amount: 499.99 };
    let shipped = OrderShipped { order_id, tracking_number: "TRACK-12345".into() };
    running.publisher().publish(&placed).aggregate_version(1).await?;
    running.publisher().publish(&shipped).aggregate_version(2).await?;

    until(&audit_log, |log| log.len() == 2).await?;
    until(&statistics.0, |statistics| statistics.shipped_count == 1).await?;
    running.stop().await?;

    let statistics = statistics.0.borrow();
    println!("\nProjection Results:");
    println!("  Total orders: {}", statistics.total_orders);
    println!("  Total revenue: ${:.2}", statistics.total_revenue);
    println!("  Shipped count: {}", statistics.shipped_count);
    println!("\nAudit log entries: {}\n", audit_log.borrow().len());
    Ok(())
}

/// A bus on an exchange of the demo's own. What is set here are defaults of the program: the
/// environment wins over them.
fn bus(exchange: &str) -> BusBuilder {
    // The buses of this process that name the same broker in memory share it.
    Bus::builder().url("memory://tutorial").exchange(exchange)
}

/// A bus without a `#[handler]`, for what is subscribed while it runs.
fn subscribing(exchange: &str) -> BusBuilder {
    bus(exchange).publish_only()
}

fn heading(text: &str) {
    let line = "=".repeat(60);
    println!("{line}\n{text}\n{line}");
}

async fn until<T>(sender: &watch::Sender<T>, condition: impl FnMut(&T) -> bool) -> Outcome {
    timeout(Duration::from_secs(30), sender.subscribe().wait_for(condition)).await??;
    Ok(())
}
