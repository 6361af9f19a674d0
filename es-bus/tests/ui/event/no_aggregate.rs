#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event]
//~^ error 1 «#[event]» missing `aggregate` (or `key`): `#[event(aggregate = "Order")]`
#[derive(Serialize, Deserialize)]
struct Bare {
    id: u64,
}

#[event(version = 2)]
//~^ error 1 «#[event(version = 2)]» missing `aggregate` (or `key`): `#[event(aggregate = "Order")]`
#[derive(Serialize, Deserialize)]
struct Versioned {
    id: u64,
}

fn main() {}
