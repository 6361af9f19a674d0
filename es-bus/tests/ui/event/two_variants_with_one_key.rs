#![allow(dead_code, unused_imports)]
use es_bus::event;
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
enum OrderEvent {
    Placed { id: u64 },
    #[event(key = "Order.Placed")]
//~^ error 19 «"Order.Placed"» routing key `Order.Placed` is already used by another variant of `OrderEvent`
    Paid { id: u64 },
    #[event(name = "Placed", key = "Order.again")]
//~^ error 20 «"Placed"» event name `Placed` is already used by another variant of `OrderEvent`
    Again,
}

fn main() {}
