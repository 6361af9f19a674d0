#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed(u64, String),
//~^ error 11 «(u64, String)» variant `Placed` has to hold one `#[event]` type, or named fields of its own, or nothing
    Paid(),
//~^ error 9 «()» variant `Paid` has to hold one `#[event]` type, or named fields of its own, or nothing
}

fn main() {}
