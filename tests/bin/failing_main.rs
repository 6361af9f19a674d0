//! A program with every kind of mistake that only the whole program shows. `report` reads what it
//! prints when `main` returns them.

use es_bus::{Bus, RawEvent, State, event, group, handler};
use serde::{Deserialize, Serialize};

/// An order was placed.
#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {}

/// A second view of it, that does not say so.
#[event(aggregate = "Order", name = "OrderPlaced")]
#[derive(Serialize, Deserialize)]
struct OrderSeen {}

/// Projections.
#[group(prefetch = 50)]
struct Projections;

#[handler(group = Projections)]
async fn project(_order: OrderPlaced) {}

#[handler(group = "projections", name = "project", bind = "Order.#")]
async fn totals(_order: OrderPlaced, State(_ledger): State<Ledger>) {}

#[handler(group = "audit", bind = "Ordr.*")]
async fn audit(_event: RawEvent) {}

/// Nobody provides one.
#[derive(Clone)]
struct Ledger;

#[tokio::main]
async fn main() -> es_bus::Result<()> {
    Bus::builder()
        .without_environment()
        .url("memory://")
        .groups(["audits", "projections"])
        .build()?
        .run()
        .await
}
