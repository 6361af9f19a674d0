#![allow(dead_code, unused_imports)]
use es_bus::{State, event, handler};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    id: u64,
}

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderShipped {
    id: u64,
}

#[event]
enum OrderEvent {
    Placed(OrderPlaced),
    Shipped(OrderShipped),
}

#[handler(group = "g", queue = "q", pattern = "Order.*", retry = 3)]
//~^ error 24 «queue» `queue` belongs to the group, whose handlers share one queue: mark a type `#[group(queue = ...)]` and write `group = ThatType`
//~^^ error 37 «pattern» unknown key `pattern`, did you mean `bind`?
//~^^^ error 58 «retry» unknown key `retry`, did you mean `retries`?
async fn project(event: OrderEvent) {
    let _ = event;
}

#[handler(queue = "q", max_retries = 3)]
//~^ error 11 «queue» `queue` belongs to the group, whose handlers share one queue: mark a type `#[group(queue = ...)]` and write `group = ThatType`
//~^^ error 24 «max_retries» unknown key `max_retries`, did you mean `retries`?
async fn by_queue(event: OrderEvent) {
    let _ = event;
}

#[handler(gruop = "g", max_attempts = 3)]
//~^ error 11 «gruop» unknown key `gruop`, did you mean `group`? (known keys: `group`, `bind`, `name`, `formerly`, `partial`, `foreign`, `retries`, `backoff`, `timeout`, `slow_handler`, `layer`, `bus`, `crate`)
//~^^ error 24 «max_attempts» unknown key `max_attempts`, did you mean `retries`? It does not count the first attempt
async fn swapped(event: OrderEvent) {
    let _ = event;
}

fn main() {}
