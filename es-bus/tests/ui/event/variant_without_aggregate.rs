#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event]
#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed { id: u64 },
//~^ error 5 «Placed» `Placed` is missing an aggregate: `#[event(aggregate = "Order")]` on the enum, or on the variant
    #[event(key = "Order.paid")]
    Paid { id: u64 },
}

fn main() {}
