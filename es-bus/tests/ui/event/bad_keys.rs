#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(key = "a.*.b")]
//~^ error 15 «"a.*.b"» routing key `a.*.b` contains the wildcard `*`; wildcards belong in `bind`
#[derive(Serialize, Deserialize)]
struct Wildcard {
    id: u64,
}

#[event(key = "a..b")]
//~^ error 15 «"a..b"» routing key `a..b` has an empty word (two dots in a row)
#[derive(Serialize, Deserialize)]
struct EmptyWord {
    id: u64,
}

#[event(key = "a b")]
//~^ error 15 «"a b"» routing key `a b` contains ' '; use printable ASCII without spaces
#[derive(Serialize, Deserialize)]
struct Space {
    id: u64,
}

#[event(aggregate = "Order", name = "#")]
//~^ error 37 «"#"» event name `#` contains the wildcard `#`; wildcards belong in `bind`
#[derive(Serialize, Deserialize)]
struct Name {
    id: u64,
}

fn main() {}
