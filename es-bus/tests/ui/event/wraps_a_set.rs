#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
enum Inner {
    Placed { id: u64 },
    Paid { id: u64 },
}

#[event]
enum Outer {
    Inner(Inner),
//~^ error[E0080] 11 «Inner» evaluation panicked: a variant wraps one event, and `Inner` is a set of them: `Order.Placed`, `Order.Paid`; wrap the events themselves
}

fn main() {}
