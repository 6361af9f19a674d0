//! How often the hot path asks for memory: exact counts, which no busy machine changes.
//!
//! A bound that is passed tells of a copy that came in; one that is far off is to be lowered.

use std::sync::Arc;

use allocation_counter::measure;
use es_bus::{
    Bus, DeliveryInfo, Event as _, Handle, Invocation, Metadata, Registry, State, event, handler,
    message::Received, wire,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};

#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
    note: String,
}

#[handler(group = "orders")]
async fn take(_order: OrderPlaced, State(taken): State<Arc<Semaphore>>) {
    taken.add_permits(1);
}

fn order() -> OrderPlaced {
    OrderPlaced { order_id: "0f1e2d3c-4b5a-4968-8776-655443322110".to_owned(), note: "x".repeat(100) }
}

fn metadata() -> Metadata {
    let mut metadata = Metadata::new(wire::new_id(), String::new(), OffsetDateTime::now_utc());
    metadata.correlation_id = Some(metadata.event_id.clone());
    metadata
}

/// Allocations of one run, after some for whatever is kept. Blocks of queues come every 32 runs.
fn count(mut run: impl FnMut()) -> f64 {
    const RUNS: u32 = 256;
    for _ in 0..RUNS {
        run();
    }
    let counted = measure(|| {
        for _ in 0..RUNS {
            run();
        }
    });
    counted.count_total as f64 / f64::from(RUNS)
}

/// Asking whether anybody looks at traces takes one, until somebody does.
const TRACE: f64 = if cfg!(feature = "otel") { 1.0 } else { 0.0 };

#[track_caller]
fn assert_at_most(bound: f64, counted: f64) {
    assert!(counted <= bound, "{counted} allocations, {bound} are allowed");
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("the system gives what a runtime needs")
}

async fn start(publish_only: bool, taken: &Arc<Semaphore>) -> Handle {
    let registry = Registry::new().event::<OrderPlaced>();
    let bus = Bus::builder().without_environment().url("memory://").state(Arc::clone(taken));
    let bus = if publish_only {
        bus.registry(registry).publish_only()
    } else {
        bus.registry(registry.handler::<take>())
    };
    bus.build().expect("it is a program").start().await.expect("the broker is in this process")
}

/// The body, what shares it with the headers, the headers, the id among the properties.
#[test]
fn an_event_is_encoded_in_a_handful() {
    let (order, metadata) = (order(), metadata());

    let counted = count(|| drop(wire::encode(&order, &metadata).unwrap()));

    assert_at_most(4.0, counted);
}

/// The event's own texts.
#[test]
fn an_event_is_decoded_in_as_many_as_it_has_texts() {
    let kind = &OrderPlaced::KINDS[0];
    let received = Received {
        message: wire::encode(&order(), &metadata()).unwrap(),
        exchange: "shop".to_owned(),
        routing_key: kind.key.to_owned(),
        redelivered: false,
    };
    let origin = wire::origin(&received, "shop.orders");
    let delivery = Arc::new(DeliveryInfo::new(received, "shop.orders".into(), "orders".into(), origin));
    let attempt = es_bus::Attempt { number: 0, retries: 3 };
    let invocation = Invocation::new(delivery, "take".into(), attempt, Arc::default());

    let counted = count(|| drop(invocation.decode::<OrderPlaced>().unwrap()));

    assert_at_most(2.0, counted);
}

#[test]
fn a_publish_takes_little_more_than_its_message() {
    let runtime = runtime();
    let running = runtime.block_on(start(true, &Arc::new(Semaphore::new(0))));
    let order = order();

    let counted =
        count(|| drop(runtime.block_on(async { running.publisher().publish(&order).await }).unwrap()));

    assert_at_most(15.0 + TRACE, counted);
}

#[test]
fn an_event_is_published_and_handled_in_a_bounded_number() {
    let runtime = runtime();
    let taken = Arc::new(Semaphore::new(0));
    let running = runtime.block_on(start(false, &taken));
    let order = order();

    let counted = count(|| {
        runtime.block_on(async {
            running.publisher().publish(&order).await.unwrap();
            taken.acquire().await.unwrap().forget();
        });
    });

    assert_at_most(33.0 + 2.0 * TRACE, counted);
}
