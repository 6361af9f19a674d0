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

#[handler(group = "g", bind = ["Order..x", "Order#", "Ord er.*", ".a", "", "a.", "a.*b", "Ördër"])]
//~^ error 32 «"Order..x"» binding `Order..x` has an empty word (two dots in a row)
//~^^ error 44 «"Order#"» `#` has to be a whole word: in `Order#` it would be matched literally; write `#` between dots, or list the words you mean
//~^^^ error 54 «"Ord er.*"» binding `Ord er.*` contains ' '; use printable ASCII without spaces
//~^^^^ error 66 «".a"» binding `.a` has an empty word (it starts with a dot)
//~^^^^^ error 72 «""» binding is empty
//~^^^^^^ error 76 «"a."» binding `a.` has an empty word (it ends with a dot)
//~^^^^^^^ error 82 «"a.*b"» `*` has to be a whole word: in `*b` it would be matched literally; write `*` between dots, or list the words you mean
//~^^^^^^^^ error 90 «"Ördër"» binding `Ördër` contains 'Ö'; use printable ASCII without spaces
async fn project(event: OrderEvent) {
    let _ = event;
}

fn main() {}
