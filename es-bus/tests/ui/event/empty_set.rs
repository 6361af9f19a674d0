#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
enum Nothing {}
//~^ error 6 «Nothing» an event set needs at least one variant, each an event of its own

fn main() {}
