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

#[handler(group = 3)]
//~^ error 19 «3» `group` of `#[handler]` takes a text or a type marked `#[group]`: `group = "projections"`, `group = Projections`
async fn number(event: OrderEvent) {
    let _ = event;
}

#[handler(group)]
//~^ error 11 «group» `group` of `#[handler]` takes a text or a type marked `#[group]`: `group = "projections"`, `group = Projections`
async fn flag(event: OrderEvent) {
    let _ = event;
}

#[handler(group = "my group")]
//~^ error 19 «"my group"» group name `my group` contains ' '; use letters, digits, `-`, `_` and dots
async fn spaced(event: OrderEvent) {
    let _ = event;
}

#[handler(group = "")]
//~^ error 19 «""» group name is empty
async fn empty(event: OrderEvent) {
    let _ = event;
}

fn main() {}
