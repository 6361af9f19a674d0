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

#[handler(group = "g", partial)]
//~^ error 24 «partial» `partial` narrows `bind`, and there is none: without it the handler is bound to all events it takes
async fn project(event: OrderEvent) {
    let _ = event;
}

#[handler(group = "g", bind = "Order.OrderPlaced", partial = true)]
//~^ error 62 «true» `partial` of `#[handler]` takes no value: write `partial` alone
async fn again(event: OrderEvent) {
    let _ = event;
}

fn main() {}
