#![allow(dead_code)]
use my_bus::{event, handler};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", crate = my_bus)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    id: u64,
}

#[handler(group = "g", bind = "Ordr.*", crate = my_bus)]
//~^ error[E0080] 31 «"Ordr.*"» evaluation panicked: binding `Ordr.*` never receives `OrderPlaced`, which is published as `Order.OrderPlaced`
async fn project(event: OrderPlaced) {
    let _ = event;
}

fn main() {}
