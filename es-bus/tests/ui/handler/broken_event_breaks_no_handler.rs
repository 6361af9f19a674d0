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

#[event(agregate = "Invoice")]
//~^ error 9 «agregate» unknown key `agregate`, did you mean `aggregate`? (known keys: `aggregate`, `name`, `key`, `version`, `exchange`, `aggregate_id`, `headers`, `priority`, `ttl`, `transient`, `mandatory`, `optional`, `payload`, `view`, `bus`, `crate`)
#[derive(Serialize, Deserialize)]
struct InvoicePaid {
    id: u64,
}

#[handler(group = "g", bind = "Invoice.*")]
async fn paid(event: InvoicePaid) {
    let _ = event.id;
}

#[handler(group = "g")]
async fn again(event: InvoicePaid) {
    let _ = event.id;
}

#[handler(group = "g", bind = InvoicePaid::ROUTING_KEY)]
async fn third(event: InvoicePaid) {
    let _ = event.id;
}

#[event]
enum Set {
    Paid(InvoicePaid),
    Placed(OrderPlaced),
}

#[handler(group = "g")]
async fn set(event: Set) {
    let _ = event;
}

fn registered() -> &'static es_bus::registry::HandlerDef {
    <wrong as es_bus::registry::Handler>::DEF
}

#[handler(grop = "g")]
//~^ error 11 «grop» unknown key `grop`, did you mean `group`? (known keys: `group`, `bind`, `name`, `formerly`, `partial`, `foreign`, `retries`, `backoff`, `timeout`, `slow_handler`, `layer`, `bus`, `crate`)
async fn wrong(event: OrderEvent) {
    let _ = event;
}

fn main() {}
