#![allow(dead_code, unused_imports)]
use es_bus::{State, event, handler};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    id: u64,
}

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderShipped {
    id: u64,
}

#[event]
enum OrderEvent {
    Placed(OrderPlaced),
    Shipped(OrderShipped),
}

#[handler(group = "g", prefetch = 10, concurrency = 4, kind = "quorum", ordering = "aggregate", on_unknown = "skip", max_length = 7)]
//~^ error 24 «prefetch» `prefetch` belongs to the group, whose handlers share one queue: mark a type `#[group(prefetch = ...)]` and write `group = ThatType`
//~^^ error 39 «concurrency» `concurrency` belongs to the group, whose handlers share one queue: mark a type `#[group(concurrency = ...)]` and write `group = ThatType`
//~^^^ error 56 «kind» `kind` belongs to the group, whose handlers share one queue: mark a type `#[group(kind = ...)]` and write `group = ThatType`
//~^^^^ error 73 «ordering» `ordering` belongs to the group, whose handlers share one queue: mark a type `#[group(ordering = ...)]` and write `group = ThatType`
//~^^^^^ error 97 «on_unknown» `on_unknown` belongs to the group, whose handlers share one queue: mark a type `#[group(on_unknown = ...)]` and write `group = ThatType`
//~^^^^^^ error 118 «max_length» `max_length` belongs to the group, whose handlers share one queue: mark a type `#[group(max_length = ...)]` and write `group = ThatType`
async fn project(event: OrderEvent) {
    let _ = event;
}

fn main() {}
