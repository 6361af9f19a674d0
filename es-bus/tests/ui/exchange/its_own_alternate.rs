#![allow(dead_code)]
use es_bus::exchange;

#[exchange(name = "shop", alternate_exchange = "shop")]
//~^ error 48 «"shop"» an exchange cannot be its own alternate exchange: what it has no queue for, it would have none for again
struct ByText;

#[exchange(alternate_exchange = ByType)]
//~^ error 33 «ByType» an exchange cannot be its own alternate exchange: what it has no queue for, it would have none for again
struct ByType;

#[exchange(alternate_exchange = "by-default-name")]
//~^ error 33 «"by-default-name"» an exchange cannot be its own alternate exchange: what it has no queue for, it would have none for again
struct ByDefaultName;

#[exchange(alternate_exchange = "amq.fanout")]
//~^ error 33 «"amq.fanout"» exchange name `amq.fanout` starts with `amq.`, which RabbitMQ keeps for itself
struct Reserved;

fn main() {}
