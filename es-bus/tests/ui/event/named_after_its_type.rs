// A type may be called what no routing key can have in it.
#![allow(dead_code)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderGrößer;
//~^ error 8 «OrderGrößer» event name `OrderGrößer` contains 'ö'; use printable ASCII without spaces; it is named after its type, `name = ".."` gives it another one

#[event(aggregate = "Order", name = "OrderGrown")]
#[derive(Serialize, Deserialize)]
struct OrderGrösser;

fn main() {}
