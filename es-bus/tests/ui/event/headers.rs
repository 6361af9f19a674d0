#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", headers(region = "eu", region = "us", "x-es-attempt" = "1"))]
//~^ error 53 «region» header `region` is given twice
//~^^ error 85 «"1"» header `x-es-attempt` is written by es-bus itself; choose another name
#[derive(Serialize, Deserialize)]
struct Placed {
    id: u64,
}

fn main() {}
