//! What both builds of the service do alike: the events that did not change, the file that handlers
//! write down, and `main`.
//!
//! `FLEET_NAME` names the process, `FLEET_DIR` the directory of the file `handled`.

use std::{
    env,
    path::{Path, PathBuf},
};

use es_bus::{Attempt, Bus, Metadata, event};
use serde::{Deserialize, Serialize};

/// An order was placed.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
pub(crate) struct OrderPlaced {
    pub(crate) order_id: String,
}

/// A parcel was sent.
#[event(aggregate = "Parcel")]
#[derive(Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) order_id: String,
}

/// Writes down that a handler runs: process, handler, attempt, order, event id, outcome.
///
/// # Errors
///
/// The first attempt at an order that begins with `shaky`; every attempt at one that begins with
/// `stuck` while the file `down` is there.
pub(crate) fn run(handler: &str, order: &str, attempt: Attempt, metadata: &Metadata) -> Result<(), String> {
    let down = order.starts_with("stuck") && dir().join("down").exists();
    let fails = down || (order.starts_with("shaky") && attempt.number == 0);
    let outcome = if fails { "failed" } else { "done" };
    let name = env::var("FLEET_NAME").unwrap_or_default();
    let line = format!("{name} {handler} {} {order} {} {outcome}", attempt.number, metadata.event_id);
    es_bus_tests::note(&dir().join("handled"), &line);
    if fails { Err("not yet".to_owned()) } else { Ok(()) }
}

fn dir() -> PathBuf {
    env::var_os("FLEET_DIR").map_or_else(|| Path::new(".").to_owned(), PathBuf::from)
}

/// Consumes until a signal comes; with an order as the argument, publishes the invoices of that order as
/// this build writes them.
pub(crate) async fn main<A, B, C>(invoices: impl Fn(String) -> (A, B, C)) -> es_bus::Result<()>
where
    A: es_bus::Event + Sync,
    B: es_bus::Event + Sync,
    C: es_bus::Event + Sync,
{
    let Some(order) = env::args().nth(1) else { return es_bus::run().await };
    let running = Bus::builder().publish_only().build()?.start().await?;
    let (one, two, three) = invoices(order);
    let publisher = running.publisher();
    let published = async {
        publisher.publish(&one).await?;
        publisher.publish(&two).await?;
        publisher.publish(&three).await
    };
    published.await.expect("the queue is bound");
    running.stop().await
}
