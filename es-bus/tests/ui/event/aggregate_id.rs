#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", aggregate_id = ordr)]
//~^ error 45 «ordr» `Missing` has no field `ordr`; did you mean `order`?
#[derive(Serialize, Deserialize)]
struct Missing {
    order: u64,
}

#[event(aggregate = "Order", aggregate_id = "order")]
//~^ error 45 «"order"» `aggregate_id` takes the name of a field, without quotes: `aggregate_id = order`
#[derive(Serialize, Deserialize)]
struct Quoted {
    order: u64,
}

#[event(aggregate = "Order", aggregate_id)]
//~^ error 30 «aggregate_id» `aggregate_id` of `#[event]` takes the name of a field: `aggregate_id = order_id`
#[derive(Serialize, Deserialize)]
struct Flag {
    order: u64,
}

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OnTheField {
    #[event(aggregate_id)]
//~^ error 5 «#[event(aggregate_id)]» `#[event]` does not belong on a field; for the id of the aggregate write `aggregate_id = field` in the `#[event]` of the type or variant
    order: u64,
}

#[event(aggregate = "Order", aggregate_id = order)]
//~^ error 45 «order» `Gone` has no field `order`
#[derive(Serialize, Deserialize)]
enum Set {
    Placed { order: u64 },
    Gone,
}

fn main() {}
