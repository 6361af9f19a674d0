#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct Placed {
    id: u64,
}

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
enum InlineLast {
    Wrapped(Placed),
    Placed { id: u64 },
//~^ error[E0080] 5 «Placed» evaluation panicked: routing key `Order.Placed` is already used by another variant of `InlineLast`
}

#[event]
enum Twice {
    First(Placed),
    Second(Placed),
//~^ error[E0080] 12 «Placed» evaluation panicked: routing key `Order.Placed` is already used by another variant of `Twice`
}

fn main() {}
