#![allow(dead_code, unused_imports)]
use es_bus::{Subscriptions, event};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    id: u64,
}

fn project(order: OrderPlaced) {
    drop(order);
}

async fn count(orders: u32) {
    let _ = orders;
}

async fn double(order: OrderPlaced) -> u64 {
    2 * order.id
}

fn subscribe(subscriptions: &Subscriptions) {
    drop(subscriptions.subscribe("g", project));
//~^ error[E0277] 39 «project» `fn(OrderPlaced) {project}` cannot handle events
    drop(subscriptions.subscribe("g", count));
//~^ error[E0277] 39 «count» `fn(u32) -> impl Future<Output = ()> {count}` cannot handle events
    drop(subscriptions.subscribe("g", double));
//~^ error[E0277] 39 «double» `fn(OrderPlaced) -> impl Future<Output = u64> {double}` cannot handle events
    drop(subscriptions.subscribe_blocking("g", double));
//~^ error[E0277] 48 «double» `fn(OrderPlaced) -> impl Future<Output = u64> {double}` cannot handle events
    drop(subscriptions.subscribe_blocking("g", project));
}

fn main() {}
