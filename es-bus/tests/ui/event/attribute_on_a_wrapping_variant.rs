#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct Placed {
    id: u64,
}

#[event]
enum OrderEvent {
    #[event(name = "Other")]
//~^ error 5 «#[event(name = "Other")]» `Placed` wraps an event that says this itself: write it on that type, or name the field to declare the event here
    Placed(Placed),
}

fn main() {}
