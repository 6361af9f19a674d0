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

#[handler(group = "g", compat = "eventsource", headers(a = "b"), exclusive, emit)]
//~^ error 24 «compat» `compat` comes in a later version of es-bus
//~^^ error 48 «headers» unknown key `headers`, did you mean `bind(headers(..))`?
//~^^^ error 66 «exclusive» `exclusive` comes in a later version of es-bus
//~^^^^ error 77 «emit» unknown key `emit`: a handler says by its result what it publishes, `Emit<T>` or `Result<Emit<T>, E>`
async fn project(event: OrderEvent) {
    let _ = event;
}

fn main() {}
