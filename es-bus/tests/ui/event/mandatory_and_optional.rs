#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", mandatory, optional)]
//~^ error 30 «mandatory» `mandatory` and `optional` exclude each other: reaching no queue is an error, or it is not
#[derive(Serialize, Deserialize)]
struct Placed {
    id: u64,
}

fn main() {}
