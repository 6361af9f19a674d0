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

struct Projections;

#[handler(group = Projections)]
//~^ error[E0277] 19 «Projections» `Projections` is not a group
async fn project(event: OrderEvent) {
    let _ = event;
}

fn main() {}
