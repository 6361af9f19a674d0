#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event]
enum OrderEvent {
    Placed(u64),
//~^ error[E0277] 12 «u64» `u64` is not an event
}

fn main() {}
