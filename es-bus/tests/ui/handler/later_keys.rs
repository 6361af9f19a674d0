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
//~^ error 24 «compat» `compat` belongs to the group, whose handlers share one queue: mark a type `#[group(compat = ...)]` and write `group = ThatType`
//~^^ error 48 «headers» unknown key `headers`, did you mean `bind(headers(..))`?
//~^^^ error 66 «exclusive» `exclusive` belongs to the group, whose handlers share one queue: mark a type `#[group(exclusive = ...)]` and write `group = ThatType`
//~^^^^ error 77 «emit» unknown key `emit`: a handler says by its result what it publishes, `Emit<T>` or `Result<Emit<T>, E>`
async fn project(event: OrderEvent) {
    let _ = event;
}

fn main() {}
