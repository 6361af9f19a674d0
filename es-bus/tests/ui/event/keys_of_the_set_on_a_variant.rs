#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
enum OrderEvent {
    #[event(view, bus = "other", crate = es_bus)]
//~^ error 13 «view» `view` belongs on the enum: it holds for the whole set
//~^^ error 19 «bus» `bus` belongs on the enum: it holds for the whole set
//~^^^ error 34 «crate» `crate` belongs on the enum: it holds for the whole set
    Placed { id: u64 },
}

fn main() {}
