//! What is counted.

use std::{hint::black_box, sync::Arc};

use es_bus::{
    Attempt, Bus, BusBuilder, DeliveryInfo, Event as _, Handle, HandlerError, Invocation, Metadata, RawEvent,
    Registry, State, Subscription, event, handler,
    message::{Message, Received},
    topic, wire,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};

/// How often a case runs while it is counted; before that, as often for caches and buffers to fill.
pub(crate) const RUNS: u64 = 64;

/// A case: its name, and what makes what runs. What it needs is made outside of the count.
struct Case {
    name: &'static str,
    make: fn() -> Box<dyn FnMut()>,
}

const fn case(name: &'static str, make: fn() -> Box<dyn FnMut()>) -> Case {
    Case { name, make }
}

const CASES: &[Case] = &[
    case("json_to_vec_200", || json_to_vec(200)),
    case("encode_200", || encode(200)),
    case("encode_2048", || encode(2048)),
    case("json_from_slice_200", || json_from_slice(200)),
    case("decode_200", || decode(200)),
    case("decode_2048", || decode(2048)),
    case("decode_with_envelope_200", || decode_both(200)),
    case("origin", origin),
    case("lane", lane),
    case("id", || Box::new(|| drop(black_box(wire::new_id())))),
    case("topic_match", topic_match),
    case("dispatch_1", || dispatch(1)),
    case("dispatch_100", || dispatch(100)),
    case("publish_to_nobody", publish_to_nobody),
    case("publish_and_handle_1", || publish_and_handle(1)),
    case("publish_and_handle_10", || publish_and_handle(10)),
    case("publish_and_handle_100", || publish_and_handle(100)),
    case("publish_and_dead_letter", publish_and_dead_letter),
];

/// The cases of these names, or all.
pub(crate) fn named(names: &[&str]) -> Result<Vec<&'static str>, String> {
    let all = CASES.iter().map(|case| case.name);
    if let Some(unknown) = names.iter().find(|name| all.clone().all(|known| known != **name)) {
        let all: Vec<_> = all.collect();
        return Err(format!("there is no case {unknown:?}, but {}", all.join(", ")));
    }
    Ok(all.filter(|name| names.is_empty() || names.contains(name)).collect())
}

/// Runs these cases, one call of [`measured`] each.
pub(crate) fn run(names: &[&str]) {
    for case in CASES.iter().filter(|case| names.contains(&case.name)) {
        let mut run = (case.make)();
        for _ in 0..RUNS {
            run();
        }
        measured(&mut *run);
    }
}

/// What callgrind knows by its name.
#[inline(never)]
fn measured(run: &mut dyn FnMut()) {
    for _ in 0..RUNS {
        run();
    }
}

#[event(aggregate = "Order", aggregate_id = order_id, optional)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
    note: String,
}

impl OrderPlaced {
    /// As many bytes of JSON.
    fn of_size(size: usize) -> Self {
        let mut order =
            Self { order_id: "0f1e2d3c-4b5a-4968-8776-655443322110".to_owned(), note: String::new() };
        order.note = "x".repeat(size - to_vec(&order).len());
        order
    }
}

fn to_vec(order: &OrderPlaced) -> Vec<u8> {
    serde_json::to_vec(order).expect("texts are JSON")
}

fn metadata() -> Metadata {
    let id = "019aa8b2-1c7e-7d3a-8f00-112233445566".to_owned();
    let mut metadata = Metadata::new(
        id.clone(),
        "OrderPlaced".to_owned(),
        OffsetDateTime::from_unix_timestamp_nanos(1_767_323_045_678_901_000).expect("it is in 2026"),
    );
    metadata.correlation_id = Some(id);
    metadata
}

fn message(size: usize) -> Message {
    wire::encode(&OrderPlaced::of_size(size), &metadata()).expect("an order can be encoded")
}

fn received(size: usize) -> Received {
    Received {
        message: message(size),
        exchange: "shop".to_owned(),
        routing_key: "Order.OrderPlaced".to_owned(),
        redelivered: false,
    }
}

fn json_to_vec(size: usize) -> Box<dyn FnMut()> {
    let order = OrderPlaced::of_size(size);
    Box::new(move || drop(black_box(to_vec(black_box(&order)))))
}

fn json_from_slice(size: usize) -> Box<dyn FnMut()> {
    let json = to_vec(&OrderPlaced::of_size(size));
    Box::new(move || {
        drop(black_box(serde_json::from_slice::<OrderPlaced>(black_box(&json)).expect("it was encoded")));
    })
}

fn encode(size: usize) -> Box<dyn FnMut()> {
    let (order, metadata) = (OrderPlaced::of_size(size), metadata());
    Box::new(move || drop(black_box(wire::encode(black_box(&order), black_box(&metadata)))))
}

fn decode(size: usize) -> Box<dyn FnMut()> {
    let invocation = invocation(size);
    Box::new(move || {
        drop(black_box(black_box(&invocation).decode::<OrderPlaced>().expect("it was encoded")));
    })
}

/// The event and its envelope.
fn decode_both(size: usize) -> Box<dyn FnMut()> {
    let (received, kind) = (received(size), &OrderPlaced::KINDS[0]);
    Box::new(move || {
        drop(black_box(wire::decode::<OrderPlaced>(black_box(&received), kind).expect("it was encoded")));
    })
}

fn invocation(size: usize) -> Invocation {
    let attempt = Attempt { number: 0, retries: 3 };
    Invocation::new(Arc::new(delivery(size)), "take".into(), attempt, Arc::default())
}

fn delivery(size: usize) -> DeliveryInfo {
    let received = received(size);
    let origin = wire::origin(&received, "shop.orders");
    DeliveryInfo::new(received, "shop.orders".to_owned(), "orders".to_owned(), origin)
}

fn origin() -> Box<dyn FnMut()> {
    let received = received(200);
    Box::new(move || drop(black_box(wire::origin(black_box(&received), black_box("shop.orders")))))
}

fn lane() -> Box<dyn FnMut()> {
    let received = received(200);
    Box::new(move || drop(black_box(wire::lane(black_box(&received)))))
}

fn topic_match() -> Box<dyn FnMut()> {
    Box::new(|| {
        for pattern in ["Order.OrderPlaced", "Order.*", "#", "Order.#.Placed", "*.*.OrderPlaced"] {
            black_box(topic::matches(black_box(pattern), black_box("Order.OrderPlaced")));
        }
    })
}

#[handler(group = "orders")]
async fn take(_order: OrderPlaced, State(taken): State<Arc<Semaphore>>) {
    taken.add_permits(1);
}

/// The publisher's own work, and a broker that has nothing to do.
fn publish_to_nobody() -> Box<dyn FnMut()> {
    let runtime = runtime();
    let bus = Bus::builder().registry(Registry::new().event::<OrderPlaced>()).publish_only();
    let running = runtime.block_on(start(bus));
    let order = OrderPlaced::of_size(200);
    Box::new(move || drop(runtime.block_on(async { running.publisher().publish(&order).await })))
}

/// The whole way through the in-process broker to a group with so many handlers, of which one takes the
/// event.
fn publish_and_handle(handlers: usize) -> Box<dyn FnMut()> {
    let runtime = runtime();
    let taken = Arc::new(Semaphore::new(0));
    let registry = Registry::new().event::<OrderPlaced>().handler::<take>();
    let running = runtime.block_on(start(Bus::builder().registry(registry).state(Arc::clone(&taken))));
    let others = runtime.block_on(subscribe(&running, handlers));
    let order = OrderPlaced::of_size(200);
    Box::new(move || {
        let _ = &others;
        runtime.block_on(async {
            running.publisher().publish(&order).await.expect("the group takes it");
            taken.acquire().await.expect("nobody closes it").forget();
        });
    })
}

/// Whom a delivery goes to, in a group of so many handlers, of which one takes it; and that one's run.
fn dispatch(handlers: usize) -> Box<dyn FnMut()> {
    let runtime = runtime();
    let registry = Registry::new().event::<OrderPlaced>().handler::<take>();
    let running =
        runtime.block_on(start(Bus::builder().registry(registry).state(Arc::new(Semaphore::new(0)))));
    let others = runtime.block_on(subscribe(&running, handlers));
    let dispatching = running.dispatching("orders").expect("the group is consumed");
    let delivery = Arc::new(delivery(200));
    Box::new(move || {
        let _ = (&others, &running);
        let succeeded = runtime.block_on(dispatching.dispatch(black_box(&delivery)));
        assert_eq!(succeeded, 1, "one handler takes it");
    })
}

#[handler(group = "refusing")]
async fn refuse(_order: OrderPlaced) -> Result<(), HandlerError> {
    Err(HandlerError::reject("never"))
}

/// What is decided of a failure, and the copy that goes to the dead letters.
fn publish_and_dead_letter() -> Box<dyn FnMut()> {
    let runtime = runtime();
    let registry = Registry::new().event::<OrderPlaced>().handler::<refuse>();
    let running = runtime.block_on(start(Bus::builder().registry(registry)));
    let order = OrderPlaced::of_size(200);
    Box::new(move || {
        runtime.block_on(async {
            let before = running.counts().dead_lettered;
            running.publisher().publish(&order).await.expect("the group takes it");
            while running.counts().dead_lettered == before {
                tokio::task::yield_now().await;
            }
        });
    })
}

async fn start(bus: BusBuilder) -> Handle {
    bus.without_environment()
        .url("memory://")
        .build()
        .expect("it is a program")
        .start()
        .await
        .expect("the broker is in this process")
}

async fn subscribe(running: &Handle, handlers: usize) -> Vec<Subscription> {
    let mut others = Vec::new();
    for number in 1..handlers {
        let other = running.subscriptions().subscribe("orders", |_: RawEvent| async {});
        others.push(other.bind(format!("Letter.n{number}")).await.expect("the group is there"));
    }
    others
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("the system gives what a runtime needs")
}
