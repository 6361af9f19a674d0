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

#[handler(group = "g", bind = "Ordr.*")]
//~^ error[E0080] 31 «"Ordr.*"» evaluation panicked: binding `Ordr.*` never receives `OrderPlaced`, which is published as `Order.OrderPlaced`
async fn project(event: OrderPlaced) {
    let _ = event;
}

fn main() {}
