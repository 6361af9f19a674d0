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
async fn project(event: OrderEvent) -> u32 {
//~^ error[E0277] 40 «u32» a handler cannot return `u32`
    let _ = event;
    3
}

#[handler(group = "g")]
fn blocking(event: OrderEvent) -> Option<()> {
//~^ error[E0277] 35 «Option<()>» a handler cannot return `std::option::Option<()>`
    let _ = event;
    None
}

fn main() {}
