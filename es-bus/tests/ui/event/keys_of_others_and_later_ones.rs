#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", group = "g", bind = "Order.*", compat = "eventsource", routing_key = "a.b", agregate = "c")]
//~^ error 30 «group» `group` belongs on a `#[handler]`: an event does not know who handles it
//~^^ error 43 «bind» `bind` belongs on a `#[handler]`: an event does not know who handles it
//~^^^ error 61 «compat» `compat` comes in a later version of es-bus
//~^^^^ error 85 «routing_key» unknown key `routing_key`, did you mean `key`?
//~^^^^^ error 106 «agregate» unknown key `agregate`, did you mean `aggregate`? (known keys: `aggregate`, `name`, `key`, `version`, `exchange`, `aggregate_id`, `headers`, `priority`, `ttl`, `transient`, `mandatory`, `optional`, `payload`, `view`, `bus`, `crate`)
#[derive(Serialize, Deserialize)]
struct Placed {
    id: u64,
}

fn main() {}
