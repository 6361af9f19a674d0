#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
union Either {
//~^ error 1 «union» an event is a struct, or an enum of events, never a union
    a: u64,
    b: i64,
}

#[event(aggregate = "Order")]
//~^ error 1 «#[event(aggregate = "Order")]» `#[event]` belongs on a struct, or on an enum whose variants are events
fn placed() {}

#[event(aggregate = "Order")]
//~^ error 1 «#[event(aggregate = "Order")]» `#[event]` belongs on a struct, or on an enum whose variants are events
mod placed_too {}

fn main() {}
