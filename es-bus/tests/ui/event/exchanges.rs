#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", exchange = "amq.topic")]
//~^ error 41 «"amq.topic"» exchange name `amq.topic` starts with `amq.`, which RabbitMQ keeps for itself
#[derive(Serialize, Deserialize)]
struct Reserved {
    id: u64,
}

fn main() {}
