#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct Placed {
    id: u64,
}

#[event(version = 2)]
//~^ error 9 «version» every variant wraps an event that says this itself: drop `version`
enum OrderEvent {
    Placed(Placed),
}

#[event(aggregate = "Invoice")]
enum InvoiceEvent {
    Placed(Placed),
//~^ error[E0080] 12 «Placed» evaluation panicked: `Placed` happens to `Order`, and `InvoiceEvent` says `Invoice`: leave `aggregate` out, each wrapped event says its own
}

fn main() {}
