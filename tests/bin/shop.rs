//! A service for tests that kill, stop and misconfigure it: `es_bus::run()` over groups of which
//! `ES_BUS_GROUPS` chooses.
//!
//! Handlers add lines to files in `SHOP_DIR`. With `start` as its argument it starts the bus itself, and
//! stops on a signal; with `publish` it also publishes, as fast as the broker confirms, and writes down
//! what was confirmed; with `migrate` it migrates its queues, so many messages a second as `SHOP_RATE` says; with
//! `apply` it brings the broker to what it declares, and prunes what is left over.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use es_bus::{
    Attempt, Bus, HandlerError, Metadata, event, handler,
    migrate::{MigrateOptions, MigrationProgress},
    plan::PlanOptions,
};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

/// An order was placed.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
    total: u32,
}

/// An order was cancelled, for the group whose handlers fail.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderCancelled {
    order_id: String,
}

/// Waits until the file `gate` is there.
#[handler(group = "gated")]
async fn wait_at_the_gate(order: OrderPlaced) {
    note("handled", &format!("start {}", order.order_id));
    while !dir().join("gate").exists() {
        sleep(Duration::from_millis(10)).await;
    }
    note("handled", &format!("end {}", order.order_id));
}

/// Keeps its thread for longer than any test waits.
#[handler(group = "stuck")]
async fn block(order: OrderPlaced) {
    note("handled", &format!("start {}", order.order_id));
    std::thread::sleep(Duration::from_secs(120));
}

/// Fails at first.
#[handler(group = "ledger", retries = 20, backoff(base = "200ms", max = "200ms"))]
async fn enter(_order: OrderCancelled, attempt: Attempt, metadata: Metadata) -> Result<(), HandlerError> {
    note("handled", &format!("{} {}", attempt.number, metadata.event_id));
    if attempt.number == 0 { Err("not yet".into()) } else { Ok(()) }
}

fn dir() -> PathBuf {
    env::var_os("SHOP_DIR").map_or_else(|| Path::new(".").to_owned(), PathBuf::from)
}

/// Adds a line to a file.
fn note(file: &str, line: &str) {
    es_bus_tests::note(&dir().join(file), line);
}

/// Gives the queues the settings that this program declares, and writes down how it goes on.
async fn migrate() -> es_bus::Result<()> {
    let tell = |it: &MigrationProgress| note("migrated", &format!("{:?} {}", it.step, it.moved));
    let mut options = MigrateOptions::new().on_progress(tell);
    if let Some(rate) = env::var("SHOP_RATE").ok().and_then(|rate| rate.parse().ok()) {
        options = options.rate(rate);
    }
    Bus::builder().build()?.migrate(&options).await.map(drop)
}

/// Applies a plan with all that there is to do, and says when it begins.
async fn apply() -> es_bus::Result<()> {
    let bus = Bus::builder().build()?;
    let plan = bus.plan_with(&PlanOptions::new().prune()).await?;
    note("applied", "begun");
    bus.apply(&plan).await.map(drop)
}

#[tokio::main(worker_threads = 2)]
async fn main() -> es_bus::Result<()> {
    let task = env::args().nth(1);
    if task.is_none() {
        return es_bus::run().await;
    }
    if task.as_deref() == Some("migrate") {
        return migrate().await;
    }
    if task.as_deref() == Some("apply") {
        return apply().await;
    }
    let running = Bus::builder().build()?.start().await?;
    if task.as_deref() == Some("start") {
        return running.stop_on_signal().await;
    }
    for number in 0_u64.. {
        let event = OrderCancelled { order_id: format!("o-{}", number % 7) };
        if let Ok(id) = running.publisher().publish(&event).await {
            note("confirmed", &id);
        }
    }
    running.stop().await
}
