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

const TOPIC: &str = "Order.x#";
mod topics {
    pub const INVOICES: &str = "Invoice.*";
}

#[handler(group = "g", bind = TOPIC)]
//~^ error[E0080] 31 «TOPIC» evaluation panicked: binding `Order.x#` has a wildcard inside a word, where it would be matched literally; a wildcard has to be a whole word
async fn project(event: OrderEvent) {
    let _ = event;
}

#[handler(group = "g", bind = ["Order.OrderShipped", topics::INVOICES])]
//~^ error[E0080] 54 «topics::INVOICES» evaluation panicked: binding `Invoice.*` never receives `OrderShipped`, which is published as `Order.OrderShipped`
async fn shipped(event: OrderShipped) {
    let _ = event;
}

#[handler(group = "g", bind = OrderPlaced::ROUTING_KEY)]
//~^ error[E0080] 31 «OrderPlaced::ROUTING_KEY» evaluation panicked: binding `Order.OrderPlaced` never receives `OrderShipped`, which is published as `Order.OrderShipped`
async fn other(event: OrderShipped) {
    let _ = event;
}

fn main() {}
