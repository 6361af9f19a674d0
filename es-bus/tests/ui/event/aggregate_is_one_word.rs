#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "auth.user")]
//~^ error 21 «"auth.user"» `aggregate` is one word of the routing key, without dots; use `key` to set the whole routing key
#[derive(Serialize, Deserialize)]
struct Dotted {
    id: u64,
}

#[event(aggregate = "Or der")]
//~^ error 21 «"Or der"» aggregate `Or der` contains ' '; use printable ASCII without spaces
#[derive(Serialize, Deserialize)]
struct Spaced {
    id: u64,
}

#[event(aggregate = "*")]
//~^ error 21 «"*"» aggregate `*` contains the wildcard `*`; wildcards belong in `bind`
#[derive(Serialize, Deserialize)]
struct Wild {
    id: u64,
}

#[event(aggregate = "")]
//~^ error 21 «""» aggregate is empty
#[derive(Serialize, Deserialize)]
struct Empty {
    id: u64,
}

fn main() {}
