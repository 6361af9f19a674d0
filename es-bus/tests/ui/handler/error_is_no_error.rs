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

struct Mine;

#[handler(group = "g")]
async fn project(event: OrderEvent) -> Result<(), Mine> {
//~^ error[E0277] 40 «Result<(), Mine>» `Mine` cannot be the error of a handler
    let _ = event;
    Err(Mine)
}

fn main() {}
