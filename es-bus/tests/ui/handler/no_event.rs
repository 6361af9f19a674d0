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

#[handler(group = "g", bind = "Order.*")]
async fn project(_meta: es_bus::Metadata, _total: State<u64>) {}
//~^ error[E0080] 10 «project» evaluation panicked: this handler takes no event: add an argument that is an `#[event]` type, `Envelope<T>` or `RawEvent`

#[handler(group = "g")]
async fn nothing() {}
//~^ error[E0080] 10 «nothing» evaluation panicked: this handler takes no event: add an argument that is an `#[event]` type, `Envelope<T>` or `RawEvent`

fn main() {}
