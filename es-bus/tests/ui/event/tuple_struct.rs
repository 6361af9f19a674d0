#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct Placed(u64, String);
//~^ error 14 «(u64, String)» `Placed` is no JSON object: serde writes a tuple struct as an array; name its fields, or write `payload = "nested"`

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct Nothing();
//~^ error 15 «()» `Nothing` is no JSON object: serde writes a tuple struct as an array; name its fields, or write `payload = "nested"`

fn main() {}
