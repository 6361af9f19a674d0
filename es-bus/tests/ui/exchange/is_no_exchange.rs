#![allow(dead_code)]
use es_bus::{event, exchange, group};
use serde::{Deserialize, Serialize};

struct Plain;

#[event(aggregate = "Order", exchange = Plain)]
//~^ error[E0277] 41 «Plain» `Plain` is not an exchange
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    id: u64,
}

#[group(exchange = Plain)]
//~^ error[E0277] 20 «Plain» `Plain` is not an exchange
struct Projections;

#[exchange(alternate_exchange = Plain)]
//~^ error[E0277] 33 «Plain» `Plain` is not an exchange
struct Shop;

fn main() {}
