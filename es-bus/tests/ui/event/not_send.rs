#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct Placed {
//~^ error[E0277] 8 «Placed» `Cell<u64>` cannot be shared between threads safely
//~^^ error[E0277] 8 «Placed» `Cell<u64>` cannot be shared between threads safely
//~^^^ error[E0277] 8 «Placed» `Cell<u64>` cannot be shared between threads safely
//~^^^^ error[E0277] 8 «Placed» `Cell<u64>` cannot be shared between threads safely
    #[serde(skip)]
    cache: std::cell::Cell<u64>,
}

fn main() {}
