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

#[handler(group = "g", retries = "3", timeout = 30, backoff(base = "2m", max = "1m", jitter = 2))]
//~^ error 34 «"3"» `retries` of `#[handler]` takes a whole number: `retries = 1`
//~^^ error 49 «30» `timeout` of `#[handler]` takes a duration: `timeout = "30s"`
//~^^^ error 68 «"2m"» `base` of 2m is longer than `max` of 1m: the first wait is the shortest
//~^^^^ error 95 «2» `jitter` is a number from 0 to 1: 0.1 is ten percent
async fn project(event: OrderEvent) {
    let _ = event;
}

#[handler(group = "g", retries = 1000, timeout = "30", backoff = "1s")]
//~^ error 34 «1000» `retries` is a number from 0 to 100
//~^^ error 50 «"30"» duration "30" has no unit, write "30s" (units: ms, s, m, h, d)
//~^^^ error 66 «"1s"» `backoff` of `#[handler]` takes a list: `backoff(base = "1s", max = "60s", jitter = 0.1)`
async fn again(event: OrderEvent) {
    let _ = event;
}

#[handler(group = "g", timeout = "2d", backoff(bas = "1s", max = "60 sec", jitter = "0.1"))]
//~^ error 34 «"2d"» `timeout` is a duration from 1ms to 1d
//~^^ error 48 «bas» unknown key `bas`, did you mean `base`? (known keys: `base`, `max`, `jitter`)
//~^^^ error 66 «"60 sec"» duration "60 sec" has the unknown unit "sec", use one of ms, s, m, h, d
//~^^^^ error 85 «"0.1"» `jitter` of `backoff` takes a number from 0 to 1: `jitter = 0.1`
async fn more(event: OrderEvent) {
    let _ = event;
}

#[handler(group = "g", slow_handler = "0s")]
//~^ error 39 «"0s"» `slow_handler` is a duration from 1ms to 1d (`none` for never)
async fn slow(event: OrderEvent) {
    let _ = event;
}

#[handler(group = "g", slow_handler = off)]
//~^ error 39 «off» `slow_handler` of `#[handler]` takes a duration, or "none": `slow_handler = "1s"`
async fn slower(event: OrderEvent) {
    let _ = event;
}

fn main() {}
