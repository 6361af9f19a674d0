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

#[handler(group = "g")]
async fn project(event: OrderPlaced, raw: es_bus::RawEvent) {
//~^ error[E0080] 43 «es_bus::RawEvent» evaluation panicked: a handler takes one event, this one already takes `OrderPlaced`: put `RawEvent` in a handler of its own, or make both variants of one `#[event] enum`
    let _ = (event, raw);
}

fn main() {}
