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
async unsafe fn careless(event: OrderEvent) {
//~^ error 7 «unsafe» a handler cannot be `unsafe`: the bus calls it, and cannot keep its promises
    let _ = event;
}

#[handler(group = "g")]
extern "C" fn foreign(event: OrderEvent) {
//~^ error 1 «extern "C"» a handler is an ordinary Rust function, without an ABI of its own
    let _ = event;
}

#[handler(group = "g")]
const fn constant(event: OrderEvent) {
//~^ error 1 «const» a handler cannot be `const`
    std::mem::forget(event);
}

fn main() {}
