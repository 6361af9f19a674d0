//! A service with a command line of its own: the same program runs it, looks at it, and mends what failed.
//!
//! ```sh
//! cargo run --bin operations -- --help
//! cargo run --bin operations -- handlers
//! export ES_BUS_URL=amqp://guest:guest@localhost:5672/
//! cargo run --bin operations -- run
//! cargo run --bin operations -- publish OrderPlaced --data '{"order_id": "o-1", "total": 99.9}'
//! cargo run --bin operations -- dlq list
//! ```

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use es_bus::{Bus, BusBuilder, Failure, State, event, group, handler};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
    total: f64,
}

#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderShipped {
    order_id: String,
}

/// What is known of orders: by id, what they cost.
#[derive(Clone, Default)]
struct Orders(Arc<Mutex<BTreeMap<String, f64>>>);

/// Keeps no more failed orders than somebody could look at.
#[group(exchange = "shop", dlq_max_length = 10_000)]
struct Projections;

#[derive(Debug, thiserror::Error, Failure)]
enum OrderError {
    #[error("an order over {0} is no order")]
    #[failure(reject)]
    Total(f64),
    #[error("no such order")]
    #[failure(retry)]
    Unknown,
}

#[handler(group = Projections)]
async fn remember(order: OrderPlaced, State(orders): State<Orders>) -> Result<(), OrderError> {
    if order.total < 0.0 {
        return Err(OrderError::Total(order.total));
    }
    orders.0.lock().await.insert(order.order_id, order.total);
    Ok(())
}

#[handler(group = Projections, retries = 2, backoff(base = "1s", max = "4s"))]
async fn forget(order: OrderShipped, State(orders): State<Orders>) -> Result<(), OrderError> {
    orders.0.lock().await.remove(&order.order_id).map(drop).ok_or(OrderError::Unknown)
}

/// The program's own bus: every command is about this one.
fn bus() -> BusBuilder {
    Bus::builder().exchange("shop").state(Orders::default())
}

es_bus::check!(bus());

#[tokio::main]
async fn main() -> ExitCode {
    es_bus::cli::run_with(bus).await
}
