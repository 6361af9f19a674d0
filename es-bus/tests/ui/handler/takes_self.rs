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

struct Service;

impl Service {
    #[handler(group = "g")]
    async fn project(&self, event: OrderEvent) {
//~^ error 22 «&self» a handler cannot take `self`: make it a free function and take what it needs as `State<T>`
        let _ = event;
    }
}

fn main() {}
