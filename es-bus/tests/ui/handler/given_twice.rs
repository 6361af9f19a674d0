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

#[handler(group = "g", group = "h", retries = 3, retries = 4)]
//~^ error 24 «group» `group` is given twice
//~^^ error 50 «retries» `retries` is given twice
async fn project(event: OrderEvent) {
    let _ = event;
}

fn main() {}
