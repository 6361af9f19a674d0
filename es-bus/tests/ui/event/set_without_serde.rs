#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
enum OrderEvent {
//~^ error[E0277] 6 «OrderEvent» `OrderEvent` cannot be the body of a message
    Placed { id: u64 },
}

fn main() {}
