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

#[handler(grup = "g", bnd = "Order.*", colour = 1)]
//~^ error 11 «grup» unknown key `grup`, did you mean `group`? (known keys: `group`, `bind`, `name`, `formerly`, `partial`, `foreign`, `retries`, `backoff`, `timeout`, `slow_handler`, `layer`, `bus`, `crate`)
//~^^ error 23 «bnd» unknown key `bnd`, did you mean `bind`? (known keys: `group`, `bind`, `name`, `formerly`, `partial`, `foreign`, `retries`, `backoff`, `timeout`, `slow_handler`, `layer`, `bus`, `crate`)
//~^^^ error 40 «colour» unknown key `colour`, expected one of `group`, `bind`, `name`, `formerly`, `partial`, `foreign`, `retries`, `backoff`, `timeout`, `slow_handler`, `layer`, `bus`, `crate`
async fn project(event: OrderEvent) {
    let _ = event;
}

#[handler]
//~^ error 1 «#[handler]» missing `group`: `#[handler(group = "...")]` names the queue that copies of this program share
async fn bare(event: OrderEvent) {
    let _ = event;
}

fn main() {}
