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

#[handler(group = "g", bind = 7)]
//~^ error 31 «7» `bind` of `#[handler]` takes a pattern, a constant, or a list of them: `bind = "Order.*"`, `bind = [OrderPlaced::ROUTING_KEY]`; or, on a headers exchange, `bind(headers(match = "all", format = "pdf"))`
async fn number(event: OrderEvent) {
    let _ = event;
}

#[handler(group = "g", bind)]
//~^ error 24 «bind» `bind` of `#[handler]` takes a pattern, a constant, or a list of them: `bind = "Order.*"`, `bind = [OrderPlaced::ROUTING_KEY]`; or, on a headers exchange, `bind(headers(match = "all", format = "pdf"))`
async fn flag(event: OrderEvent) {
    let _ = event;
}

#[handler(group = "g", bind = [])]
//~^ error 31 «[]» `bind` is empty: leave it out to be bound to exactly the events that the handler takes
async fn nothing(event: OrderEvent) {
    let _ = event;
}

#[handler(group = "g", bind("Order.*"))]
async fn list(event: OrderEvent) {
    let _ = event;
}

fn main() {}
