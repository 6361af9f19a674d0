#![allow(dead_code, unused_imports)]
use es_bus::{event, group};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", exchange = 7)]
//~^ error 41 «7» `exchange` of `#[event]` takes a text or a type marked `#[exchange]`: `exchange = "orders"`, `exchange = Orders`
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    id: u64,
}

#[group(exchange = ["orders"])]
//~^ error 20 «["orders"]» `exchange` of `#[group]` takes a text or a type marked `#[exchange]`: `exchange = "orders"`, `exchange = Orders`
struct Projections;

fn main() {}
