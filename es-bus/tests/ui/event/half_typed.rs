#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Clone)]
struct Placed {
    id: ,
//~^ error 9 «,» expected type, found `,`
}

fn main() {}
