#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", aggregate_id = order)]
#[derive(Serialize, Deserialize)]
struct Placed {
//~^ error[E0277] 8 «Placed» `std::option::Option<u64>` cannot be the id of an aggregate
    order: Option<u64>,
}

fn main() {}
