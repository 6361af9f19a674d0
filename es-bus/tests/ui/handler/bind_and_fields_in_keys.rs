#![allow(dead_code, unused_imports, unused_variables)]
use es_bus::{event, handler};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", key = "order.created.{region}")]
#[derive(Serialize, Deserialize)]
struct OrderCreated {
    region: String,
}

#[handler(group = "g", bind = "order.created.eu")]
async fn one(event: OrderCreated) {}

#[handler(group = "g", bind = "order.*.eu")]
async fn two(event: OrderCreated) {}

#[handler(group = "g", bind = "#.us")]
async fn three(event: OrderCreated) {}

#[handler(group = "g", bind = OrderCreated::ROUTING_KEY)]
async fn four(event: OrderCreated) {}

#[handler(group = "g", bind = "order.paid.eu")]
//~^ error[E0080] 31 «"order.paid.eu"» evaluation panicked: binding `order.paid.eu` never receives `OrderCreated`, which is published as `order.created.*`
async fn other_word(event: OrderCreated) {}

#[handler(group = "g", bind = "order.created.eu.west")]
//~^ error[E0080] 31 «"order.created.eu.west"» evaluation panicked: binding `order.created.eu.west` never receives `OrderCreated`, which is published as `order.created.*`
async fn more_words(event: OrderCreated) {}

fn main() {}
