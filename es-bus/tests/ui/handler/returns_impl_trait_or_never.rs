#![allow(dead_code, unused_imports)]
use es_bus::{State, event, handler};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    id: u64,
}

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderShipped {
    id: u64,
}

#[event]
enum OrderEvent {
    Placed(OrderPlaced),
    Shipped(OrderShipped),
}

#[handler(group = "g")]
async fn opaque(event: OrderEvent) -> impl es_bus::IntoOutcome {
//~^ error 39 «impl» a handler names what it returns: `()` or `Result<(), E>`
    let _ = event;
}

#[handler(group = "g")]
async fn never(event: OrderEvent) -> ! {
//~^ error 38 «!» a handler has to return: its event is settled then
    let _ = event;
    loop {}
}

fn main() {}
