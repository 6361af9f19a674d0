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

#[handler(group = "g", bind = )]
//~^ error 29 «=» `bind =` needs a value
async fn project(event: OrderEvent) {
    let _ = event;
}

#[handler(group = "g" bind = "Order.*")]
//~^ error 23 «bind» expected `,`
async fn comma(event: OrderEvent) {
    let _ = event;
}

#[handler(= "g", bind = "Order.*")]
//~^ error 11 «=» expected a key: a word, alone or with `= value` after it
async fn key(event: OrderEvent) {
    let _ = event;
}

fn main() {}
