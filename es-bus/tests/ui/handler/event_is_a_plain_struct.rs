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

struct Plain {
    id: u64,
}

#[handler(group = "g")]
async fn project(event: Plain) {
//~^ error[E0277] 25 «Plain» `Plain` cannot be an argument of a handler
    let _ = event;
}

fn main() {}
