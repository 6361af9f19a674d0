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

#[derive(Clone)]
struct Ledger;

#[handler(group = "g")]
async fn project(event: OrderEvent, ledger: Ledger) {
//~^ error[E0277] 45 «Ledger» `Ledger` cannot be an argument of a handler
    let _ = (event, ledger);
}

fn main() {}
