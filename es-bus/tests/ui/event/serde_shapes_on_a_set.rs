#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
//~^ error 9 «tag» serde's `tag` has no place on an event set: on the wire a variant is told by the message's type, and its body is the variant's own content
enum Tagged {
    Placed { id: u64 },
}

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
//~^ error 9 «untagged» serde's `untagged` has no place on an event set: on the wire a variant is told by the message's type, and its body is the variant's own content
enum Untagged {
    Placed { id: u64 },
}

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
enum Skipped {
    #[serde(skip)]
//~^ error 13 «skip» serde's `skip` has no place on an event: it has to be written and read
    Placed { id: u64 },
    #[serde(other)]
//~^ error 13 «other» serde's `other` has no place on an event: it has to be written and read
    Other,
}

fn main() {}
