#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", key = "Order.placed", name = "Placed")]
#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed { id: u64 },
}

fn main() {}
