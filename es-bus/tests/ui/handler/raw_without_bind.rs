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
async fn project(event: es_bus::RawEvent) {
//~^ error[E0080] 10 «project» evaluation panicked: this handler takes raw events, so it needs `bind`: for example `bind = "Order.*"`, or `bind = "#"` for everything
    let _ = event;
}

fn main() {}
