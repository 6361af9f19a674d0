//! What needs no broker: encoding, decoding, ids, the topic match, and a bus on the in-process broker.
//!
//! `cargo bench -p es-bus-bench`; each part stands beside what it cannot do without.

use std::{borrow::Cow, sync::Arc};

use divan::{Bencher, black_box, counter::ItemsCount};
use es_bus::{
    Bus, Event as _, Handle, Metadata, RawEvent, Registry, State, Subscription, event, handler,
    message::{Message, Received},
    model::{Binding, Exchange, ExchangeKind, Overflow, Queue, QueueKind},
    name::{ExchangeName, QueueName},
    transport::{
        Admin as _, Consume as _, ConsumeRequest, Publication, Publish as _, Settlement, memory::Memory,
    },
    wire,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Semaphore, mpsc},
};
use uuid::Uuid;

fn main() {
    divan::main();
}

/// Bytes of an event's own JSON.
const SIZES: [usize; 2] = [200, 2048];
/// How many events go through a bus in one sample.
const LIST: u32 = 256;

#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
    note: String,
}

impl OrderPlaced {
    fn of_size(size: usize) -> Self {
        let mut order = Self { order_id: Uuid::new_v4().to_string(), note: String::new() };
        order.note = "x".repeat(size - to_vec(&order).len());
        order
    }
}

fn to_vec(order: &OrderPlaced) -> Vec<u8> {
    serde_json::to_vec(order).expect("texts are JSON")
}

fn metadata() -> Metadata {
    Metadata::new(wire::new_id(), "OrderPlaced".to_owned(), OffsetDateTime::now_utc())
}

fn message(size: usize) -> Message {
    wire::encode(&OrderPlaced::of_size(size), &metadata()).expect("an order can be encoded")
}

#[divan::bench(args = SIZES)]
fn encode(bencher: Bencher<'_, '_>, size: usize) {
    let (order, metadata) = (OrderPlaced::of_size(size), metadata());
    bencher.bench_local(|| wire::encode(black_box(&order), black_box(&metadata)));
}

#[divan::bench(args = SIZES)]
fn encode_json_alone(bencher: Bencher<'_, '_>, size: usize) {
    let order = OrderPlaced::of_size(size);
    bencher.bench_local(|| to_vec(black_box(&order)));
}

#[divan::bench(args = SIZES)]
fn decode(bencher: Bencher<'_, '_>, size: usize) {
    let kind = &OrderPlaced::KINDS[0];
    let received = Received {
        message: message(size),
        exchange: "shop".to_owned(),
        routing_key: kind.key.to_owned(),
        redelivered: false,
    };
    bencher.bench_local(|| wire::decode::<OrderPlaced>(black_box(&received), kind).expect("it was encoded"));
}

#[divan::bench(args = SIZES)]
fn decode_json_alone(bencher: Bencher<'_, '_>, size: usize) {
    let json = to_vec(&OrderPlaced::of_size(size));
    bencher.bench_local(|| serde_json::from_slice::<OrderPlaced>(black_box(&json)).expect("it was encoded"));
}

/// What each event gets.
#[divan::bench]
fn id() -> String {
    wire::new_id()
}

/// How many topic bindings the exchange has; of them, one matches.
const BINDINGS: [usize; 3] = [10, 1_000, 10_000];

/// One publish of 200 B on the in-process broker. The queue holds one message.
#[divan::bench(args = BINDINGS)]
fn topic_match(bencher: Bencher<'_, '_>, bindings: usize) {
    let (runtime, broker) = (runtime(), Memory::new());
    runtime.block_on(declare(&broker, bindings, Some(1)));
    let publication = publication();
    bencher.bench_local(|| runtime.block_on(broker.publish(&publication)).expect("a queue takes it"));
}

/// One message of 200 B through the in-process broker: published, delivered and acknowledged.
#[divan::bench(args = BINDINGS)]
fn memory_broker(bencher: Bencher<'_, '_>, bindings: usize) {
    let (runtime, broker) = (runtime(), Memory::new());
    let request = ConsumeRequest {
        queue: queue(),
        tag: "bench".to_owned(),
        prefetch: 100,
        exclusive: false,
        may_hold: 0,
        offset: None,
    };
    let mut consumer = runtime.block_on(async {
        declare(&broker, bindings, None).await;
        broker.consume(request).await.expect("the queue is there")
    });
    let publication = publication();
    bencher.bench_local(|| {
        runtime.block_on(async {
            broker.publish(&publication).await.expect("a queue takes it");
            let delivery = consumer.next().await.expect("it was published").expect("it is delivered");
            assert!(delivery.settle(Settlement::Ack), "the channel is there");
        });
    });
}

fn publication() -> Publication {
    Publication {
        exchange: exchange(),
        routing_key: Cow::Borrowed("Order.n5.OrderPlaced"),
        message: message(200),
        mandatory: true,
        lane: None,
    }
}

fn exchange() -> ExchangeName {
    ExchangeName::new("shop").expect("a name")
}

fn queue() -> QueueName {
    QueueName::new("shop.orders").expect("a name")
}

async fn declare(broker: &Memory, bindings: usize, max_length: Option<u64>) {
    let mut orders = Queue::durable(queue(), QueueKind::Classic);
    (orders.max_length, orders.overflow) = (max_length, max_length.map(|_| Overflow::DropHead));
    let topic = Exchange::durable(exchange(), ExchangeKind::Topic);
    broker.declare_exchange(&topic).await.expect("it is new");
    broker.declare_queue(&orders).await.expect("it is new");
    for number in 0..bindings {
        let binding = Binding::by_key(exchange(), queue(), format!("Order.n{number}.*"));
        broker.bind(&binding).await.expect("both are there");
    }
}

#[handler(group = "orders")]
async fn take(_order: OrderPlaced, State(taken): State<Arc<Semaphore>>) {
    taken.add_permits(1);
}

/// A bus on the in-process broker: from `publish_all` until every handler has run, 200 B, on one core. The
/// group has so many handlers, and one of them takes the event.
#[divan::bench(args = [1, 10, 100])]
fn memory_bus(bencher: Bencher<'_, '_>, handlers: usize) {
    let runtime = runtime();
    let taken = Arc::new(Semaphore::new(0));
    let (running, _others) = runtime.block_on(start(&taken, handlers));
    let orders: Vec<OrderPlaced> = (0..LIST).map(|_| OrderPlaced::of_size(200)).collect();
    bencher.counter(ItemsCount::new(LIST)).bench_local(|| {
        runtime.block_on(async {
            let report = running.publisher().publish_all(&orders).await;
            assert!(report.is_complete(), "{report}");
            taken.acquire_many(LIST).await.expect("nobody closes it").forget();
        });
    });
}

async fn start(taken: &Arc<Semaphore>, handlers: usize) -> (Handle, Vec<Subscription>) {
    let running = Bus::builder()
        .without_environment()
        .registry(Registry::new().event::<OrderPlaced>().handler::<take>())
        .url("memory://")
        .state(Arc::clone(taken))
        .build()
        .expect("it is a program")
        .start()
        .await
        .expect("the broker is in this process");
    let mut others = Vec::new();
    for number in 1..handlers {
        let other = running.subscriptions().subscribe("orders", |_: RawEvent| async {});
        others.push(other.bind(format!("Letter.n{number}")).await.expect("the group is there"));
    }
    (running, others)
}

/// What such a bus cannot do without: a bounded channel, and JSON both ways.
#[divan::bench]
fn memory_bus_floor(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let orders: Vec<OrderPlaced> = (0..LIST).map(|_| OrderPlaced::of_size(200)).collect();
    let (tx, mut rx) = mpsc::channel::<Vec<u8>>(64);
    let taken = Arc::new(Semaphore::new(0));
    let counted = Arc::clone(&taken);
    runtime.spawn(async move {
        while let Some(json) = rx.recv().await {
            black_box(serde_json::from_slice::<OrderPlaced>(&json).expect("it was encoded"));
            counted.add_permits(1);
        }
    });
    bencher.counter(ItemsCount::new(LIST)).bench_local(|| {
        runtime.block_on(async {
            for order in &orders {
                tx.send(to_vec(order)).await.expect("the other end is there");
            }
            taken.acquire_many(LIST).await.expect("nobody closes it").forget();
        });
    });
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("the system gives what a runtime needs")
}
