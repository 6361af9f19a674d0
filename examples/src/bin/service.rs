//! The smallest service: one event, one handler.
#![expect(clippy::print_stdout, reason = "a demonstration shows what it does")]

use es_bus::{event, handler};
use serde::{Deserialize, Serialize};

#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
    total: f64,
}

#[handler(group = "projections", bind = "Order.*")]
async fn project(order: OrderPlaced) -> Result<(), std::io::Error> {
    println!("{} over {}", order.order_id, order.total);
    Ok(())
}

#[tokio::main]
async fn main() -> es_bus::Result<()> {
    es_bus::run().await
}
