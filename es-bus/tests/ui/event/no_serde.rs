#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
struct Placed {
//~^ error[E0277] 8 «Placed» `Placed` cannot be the body of a message
    id: u64,
}

fn main() {}
