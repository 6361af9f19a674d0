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
async fn project(event: OrderEvent) -> Result<u64, String> {
//~^ error[E0277] 40 «Result<u64, String>» a handler cannot return `Result<u64, String>`
    let _ = event;
    Ok(3)
}

fn main() {}
