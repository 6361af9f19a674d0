#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed { id: u64 },
    #[cfg(feature = "on")]
//~^ error 5 «#[cfg(feature = "on")]» a variant of an event set cannot depend on `#[cfg]`: put it on the whole enum, or make two sets
    Paid { id: u64 },
}

fn main() {}
