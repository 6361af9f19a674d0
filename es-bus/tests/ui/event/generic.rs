#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct Placed<T> {
//~^ error 14 «<T>» an event cannot be generic: it has one routing key
    id: T,
}

#[event(aggregate = "Order")]
#[derive(Serialize)]
struct Borrowed<'a> {
//~^ error 16 «<'a>» an event cannot be generic: it has one routing key
    id: &'a str,
}

fn main() {}
