#![allow(dead_code)]
use es_bus::{event, group, handler};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    id: u64,
}

struct NoLayer;

fn no_layer() -> NoLayer {
    NoLayer
}

#[handler(group = "g", layer = "timeout")]
//~^ error 32 «"timeout"» `layer` of `#[handler]` takes a function that makes a layer, or a call that does: `layer = at_most_ten`, `layer = RateLimitLayer::new(10, SECOND)`
async fn a_text(event: OrderPlaced) {
    let _ = event;
}

#[handler(group = "g", layer = no_layer)]
//~^ error[E0277] 32 «no_layer» the trait bound `NoLayer: tower_layer::Layer<HandlerService>` is not satisfied
async fn no_layer_at_all(event: OrderPlaced) {
    let _ = event;
}

#[handler(group = "g", layer = NoLayer)]
//~^ error[E0618] 32 «NoLayer» expected function, found struct `NoLayer`
async fn no_function(event: OrderPlaced) {
    let _ = event;
}

#[group(layer = no_layer())]
//~^ error[E0277] 17 «no_layer()» the trait bound `NoLayer: tower_layer::Layer<HandlerService>` is not satisfied
struct Group;

#[group(layer)]
//~^ error 9 «layer» `layer` of `#[group]` takes a function that makes a layer, or a call that does: `layer = at_most_ten`, `layer = RateLimitLayer::new(10, SECOND)`
struct Bare;

fn main() {}
