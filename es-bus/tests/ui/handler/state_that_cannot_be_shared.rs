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

#[handler(group = "g")]
async fn project(event: OrderEvent, State(total): State<std::rc::Rc<u64>>) {
//~^ error[E0277] 51 «State<std::rc::Rc<u64>>» `Rc<u64>` cannot be sent between threads safely
//~^^ error[E0277] 51 «State<std::rc::Rc<u64>>» `Rc<u64>` cannot be sent between threads safely
//~^^^ error[E0277] 51 «State<std::rc::Rc<u64>>» `Rc<u64>` cannot be sent between threads safely
//~^^^^ error[E0277] 51 «State<std::rc::Rc<u64>>» `Rc<u64>` cannot be shared between threads safely
//~^^^^^ error[E0277] 73 «>» `Rc<u64>` cannot be sent between threads safely
//~^^^^^^ error[E0277] 73 «>» `Rc<u64>` cannot be shared between threads safely
    let _ = (event, total);
}

fn main() {}
