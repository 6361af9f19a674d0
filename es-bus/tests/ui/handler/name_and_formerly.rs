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

#[handler(group = "g", name = "a b", formerly = 3)]
//~^ error 31 «"a b"» handler name `a b` contains ' '; use letters, digits, `-`, `_` and dots
//~^^ error 49 «3» `formerly` takes texts: `formerly = ["old_name"]`
async fn project(event: OrderEvent) {
    let _ = event;
}

#[handler(group = "g", name = other, formerly = ["again", "old"])]
//~^ error 31 «other» `name` of `#[handler]` takes a text: `name = "project"`
//~^^ error 50 «"again"» `again` is the handler's name now: `formerly` lists names that it had before
async fn again(event: OrderEvent) {
    let _ = event;
}

fn main() {}
