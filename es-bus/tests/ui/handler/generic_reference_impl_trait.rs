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
async fn project<T: Clone>(event: OrderEvent, text: &str, other: impl Clone, third: T) {
//~^ error 17 «<T: Clone>» a handler cannot be generic: the bus has to know its concrete types
//~^^ error 53 «&» a handler owns its arguments: drop the `&`
//~^^^ error 66 «impl» a handler cannot be generic: name the type
    let _ = (event, text, other, third);
}

#[handler(group = "g")]
async fn borrowed<'a>(event: &'a OrderEvent) {
//~^ error 18 «<'a>» a handler cannot be generic: the bus has to know its concrete types
//~^^ error 30 «&» a handler owns its arguments: drop the `&`
    let _ = event;
}

fn main() {}
