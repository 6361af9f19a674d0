//! What a worker does between taking a delivery and settling it: whom it goes to by type and binding, the handler's
//! future on the heap, its panics caught, its time watched. The handler does nothing, and nothing is decoded.
//!
//! `cargo bench -p es-bus-bench --bench dispatch`

use std::{future::Future as _, pin::pin, sync::Arc, task::Context};

use divan::{Bencher, black_box, counter::ItemsCount};
use es_bus::{
    Bus, Call, DeliveryInfo, Event as _, Handle, Input, Metadata, Outcome, RawEvent, Registry, Subscription,
    event,
    message::Received,
    registry::{Emitted, GroupRef, Handler, HandlerDef, Location},
    wire,
};
use futures_util::task::noop_waker;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::runtime::Builder;

fn main() {
    divan::main();
}

#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
}

/// Takes orders, and does not look at them.
struct Idle;

impl Handler for Idle {
    const DEF: &'static HandlerDef = &HandlerDef {
        bus: "default",
        group: GroupRef { name: "orders", def: None },
        name: "idle",
        formerly: &[],
        binds: &[],
        has_bind: false,
        foreign: false,
        inputs: &[Input::Event { name: "OrderPlaced", kinds: OrderPlaced::KINDS }],
        needs: |_| (),
        emits: Emitted::By(|_| ()),
        settings: &[],
        layer: None,
        call: Call::One(|_| Box::pin(async { Outcome::Done })),
        location: Location { module: module_path!(), file: file!(), line: line!() },
    };
}

/// One event in a group of so many handlers, of which one takes it.
#[divan::bench(args = [1, 10, 1000])]
fn dispatch(bencher: Bencher<'_, '_>, handlers: usize) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (running, _others) = runtime.block_on(start(handlers));
    let dispatching = running.dispatching("orders").expect("the group is consumed");
    let delivery = delivery();
    let _inside = runtime.enter();
    let waker = noop_waker();
    bencher.bench_local(|| {
        let dispatched = pin!(dispatching.dispatch(black_box(&delivery)));
        let is_done = dispatched.poll(&mut Context::from_waker(&waker));
        assert!(is_done.is_ready(), "its handler does nothing");
        is_done
    });
}

/// How many events go through the bus in one sample.
const LIST: u32 = 256;

/// So many events on the in-process broker, each of one of so many aggregates. One aggregate is one lane: its events
/// wait for each other.
#[divan::bench(args = [1, 16, 256])]
fn lanes(bencher: Bencher<'_, '_>, aggregates: u32) {
    publish_all(bencher, |number| (number % aggregates).to_string());
}

/// The same, where every other event is of one aggregate.
#[divan::bench]
fn a_hot_lane(bencher: Bencher<'_, '_>) {
    publish_all(bencher, |number| if number % 2 == 0 { "hot".to_owned() } else { number.to_string() });
}

fn publish_all(bencher: Bencher<'_, '_>, aggregate: impl Fn(u32) -> String) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (running, _others) = runtime.block_on(start(1));
    let orders: Vec<_> = (0..LIST).map(|number| OrderPlaced { order_id: aggregate(number) }).collect();
    let handled = || running.counts().handled;
    bencher.counter(ItemsCount::new(LIST)).bench_local(|| {
        let all = handled() + u64::from(LIST);
        runtime.block_on(async {
            let report = running.publisher().publish_all(&orders).await;
            assert!(report.is_complete(), "{report}");
            while handled() < all {
                tokio::task::yield_now().await;
            }
        });
    });
}

fn delivery() -> Arc<DeliveryInfo> {
    let kind = &OrderPlaced::KINDS[0];
    let id = "0198c0de-0000-7000-8000-000000000000".to_owned();
    let metadata = Metadata::new(id, kind.name.to_owned(), OffsetDateTime::UNIX_EPOCH);
    let message = wire::encode(&OrderPlaced { order_id: "1".to_owned() }, &metadata);
    let received = Received {
        message: message.expect("an order can be encoded"),
        exchange: "events".to_owned(),
        routing_key: kind.key.to_owned(),
        redelivered: false,
    };
    let queue = "events.orders".to_owned();
    let origin = wire::origin(&received, &queue);
    Arc::new(DeliveryInfo::new(received, queue, "orders".to_owned(), origin))
}

async fn start(handlers: usize) -> (Handle, Vec<Subscription>) {
    let registry = Registry::new().event::<OrderPlaced>().handler::<Idle>();
    let bus = Bus::builder().without_environment().registry(registry).url("memory://").build();
    let running = bus.expect("it is a program").start().await.expect("the broker is in this process");
    let mut others = Vec::new();
    for number in 1..handlers {
        let other = running.subscriptions().subscribe("orders", |_: RawEvent| async {});
        let key = format!("Letter.n{number}");
        others.push(other.bind(key).await.expect("the group is there"));
    }
    (running, others)
}
