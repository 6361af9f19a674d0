#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = Order, name = 3, key = true)]
//~^ error 21 «Order» `aggregate` of `#[event]` takes a text: `aggregate = "Order"`
//~^^ error 35 «3» `name` of `#[event]` takes a text: `name = "OrderPlaced"`
//~^^^ error 44 «true» `key` of `#[event]` takes a text: `key = "orders.placed"`
#[derive(Serialize, Deserialize)]
struct Words {
    id: u64,
}

#[event(aggregate = "Order", version = 0, priority = 256, ttl = "soon", payload = "flatt")]
//~^ error 40 «0» `version` is a number from 1 to 4294967295
//~^^ error 54 «256» `priority` is a number from 0 to 255
//~^^^ error 65 «"soon"» duration "soon" has no whole number before its unit
//~^^^^ error 83 «"flatt"» `payload` cannot be `flatt`, did you mean `flat`? (known: `nested`, `flat`)
#[derive(Serialize, Deserialize)]
struct Numbers {
    id: u64,
}

#[event(aggregate = "Order", version = "2", ttl = 60, headers = "a", transient = true, view = 1)]
//~^ error 40 «"2"» `version` of `#[event]` takes a whole number: `version = 1`
//~^^ error 51 «60» `ttl` of `#[event]` takes a duration: `ttl = "30s"`
//~^^^ error 65 «"a"» `headers` of `#[event]` takes a list: `headers(region = "eu", "x-team" = "orders")`
//~^^^^ error 82 «true» `transient` of `#[event]` takes no value: write `transient` alone
//~^^^^^ error 95 «1» `view` of `#[event]` takes no value: write `view` alone
#[derive(Serialize, Deserialize)]
struct Kinds {
    id: u64,
}

#[event(aggregate = "Order", version = -1, ttl = "1.5s", headers(a = 1))]
//~^ error 40 «-1» `version` of `#[event]` takes a whole number: `version = 1`
//~^^ error 50 «"1.5s"» duration "1.5s" has a fraction, write a whole number of a smaller unit ("1s500ms" for "1.5s")
#[derive(Serialize, Deserialize)]
struct More {
    id: u64,
}

fn main() {}
