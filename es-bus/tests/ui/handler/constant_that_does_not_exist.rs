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

#[handler(group = "g", bind = OrderPlaced::KEY)]
//~^ error[E0599] 44 «KEY» no associated item named `KEY` found for struct `OrderPlaced` in the current scope
async fn project(event: OrderPlaced) {
    let _ = event;
}

fn main() {}
