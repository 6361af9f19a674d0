#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

fn publish<E: es_bus::Event>(_: &E) {}

fn send() {
    publish(&"Order.Placed");
//~^ error[E0277] 13 «&"Order.Placed"» `&str` is not an event
}

fn main() {}
