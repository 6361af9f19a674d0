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
//~^ error 1 «#[handler(group = "g")]» `#[handler]` belongs on a function
struct Project;

#[handler(group = "g")]
//~^ error 1 «#[handler(group = "g")]» `#[handler]` belongs on a function
mod projects {}

fn main() {}
