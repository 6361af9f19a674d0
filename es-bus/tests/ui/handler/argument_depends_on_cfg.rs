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
async fn project(event: OrderEvent, #[cfg(feature = "on")] _total: State<u64>) {
//~^ error 37 «#[cfg(feature = "on")]» an argument of a handler cannot depend on `#[cfg]`: make two handlers
    let _ = event;
}

fn main() {}
