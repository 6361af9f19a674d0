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
//~^ error 5 «#[handler(group = "g")]» `const` items in this context need a name
//~^^ error 5 «#[handler(group = "g")]» struct is not supported in `trait`s or `impl`s
    async fn project(event: OrderEvent) {
//~^ error[E0425] 14 «project» cannot find function `project` in this scope
//~^^ error[E0425] 14 «project» cannot find type `project` in this scope
        let _ = event;
    }
}

fn main() {}
