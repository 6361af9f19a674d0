#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", key = "Order.placed", name = "Placed")]
//~^ error 30 «key» `key` belongs on a variant: each event of a set has its own
//~^^ error 52 «name» `name` belongs on a variant: each event of a set has its own
#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed { id: u64 },
}

fn main() {}
