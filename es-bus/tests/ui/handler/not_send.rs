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

async fn nothing() {}

#[handler(group = "g")]
async fn project(event: OrderEvent) {
//~^ error 10 «project» future cannot be sent between threads safely
    let shared = std::rc::Rc::new(1);
    nothing().await;
    drop((event, shared));
}

fn main() {}
