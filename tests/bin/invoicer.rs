//! A service that publishes what follows from its events, to be killed and stopped amid that:
//! `ES_BUS_GROUPS` chooses how.
//!
//! Handlers add lines to files in `INVOICER_DIR`.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use es_bus::{Emit, FromDelivery, HandlerError, Invocation, PublishError, Publisher, event, handler};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

/// An order was placed.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
    total: u32,
}

/// An invoice was sent, by another department on an exchange of its own.
#[event(aggregate = "Invoice", exchange = "billing")]
#[derive(Serialize, Deserialize)]
struct InvoiceSent {
    number: u32,
}

/// A transaction that commits when the file `gate` is there.
struct Commit;

impl FromDelivery for Commit {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        invocation.on_outcome(|_| {
            Box::pin(async {
                note("committing", "now");
                while !dir().join("gate").exists() {
                    sleep(Duration::from_millis(10)).await;
                }
                Ok(())
            })
        });
        Ok(Self)
    }
}

/// An invoice for each piece.
#[handler(group = "invoicing")]
async fn invoice(order: OrderPlaced, _commit: Commit) -> Emit<Vec<InvoiceSent>> {
    Emit((0..order.total).map(|number| InvoiceSent { number }).collect())
}

/// A reminder for each piece, of which nobody waits for the confirm.
#[handler(group = "reminding")]
async fn remind(order: OrderPlaced, publisher: Publisher) -> Result<(), PublishError> {
    for number in 0..order.total {
        let handle = publisher.publish_background(&InvoiceSent { number }).await?;
        note("accepted", handle.id());
    }
    Ok(())
}

fn dir() -> PathBuf {
    env::var_os("INVOICER_DIR").map_or_else(|| Path::new(".").to_owned(), PathBuf::from)
}

/// Adds a line to a file.
fn note(file: &str, line: &str) {
    es_bus_tests::note(&dir().join(file), line);
}

#[tokio::main]
async fn main() -> es_bus::Result<()> {
    es_bus::run().await
}
