//! A service that is killed at a chosen moment: `ES_BUS_GROUPS` chooses what its handler is doing then.
//!
//! Lines of a word and an event's id go to the file `log` in `MORTAL_DIR`, and what is to wait waits for
//! the file `gate` there. With `publish` as its argument it only publishes one order, with `background` three
//! of which it does not await the confirms at once.

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use es_bus::{Attempt, Bus, Emit, FromDelivery, HandlerError, Invocation, Metadata, event, handler};
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

#[handler(group = "waiting")]
async fn wait(_order: OrderPlaced, metadata: Metadata) {
    note("start", &metadata.event_id);
    gate().await;
    note("end", &metadata.event_id);
}

/// Fails at first.
#[handler(group = "failing", retries = 5, backoff(base = "300ms", max = "300ms"))]
async fn fail(_order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result<(), HandlerError> {
    if attempt.number == 0 {
        note("fail", &metadata.event_id);
        return Err("not yet".into());
    }
    note("end", &metadata.event_id);
    Ok(())
}

#[handler(group = "rejecting")]
async fn reject(_order: OrderPlaced, metadata: Metadata) -> Result<(), HandlerError> {
    note("reject", &metadata.event_id);
    Err(HandlerError::reject("never"))
}

/// A transaction that takes its time to commit.
struct Commit;

impl FromDelivery for Commit {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        let id = Metadata::from_delivery(invocation).await?.event_id;
        invocation.on_outcome(|_| {
            Box::pin(async move {
                note("committing", &id);
                gate().await;
                note("committed", &id);
                Ok(())
            })
        });
        Ok(Self)
    }
}

#[handler(group = "committing")]
async fn commit(_order: OrderPlaced, metadata: Metadata, _commit: Commit) {
    note("run", &metadata.event_id);
}

#[handler(group = "invoicing")]
async fn invoice(order: OrderPlaced, metadata: Metadata, _commit: Commit) -> Emit<InvoiceSent> {
    note("run", &metadata.event_id);
    Emit(InvoiceSent { number: order.total })
}

async fn gate() {
    while !dir().join("gate").exists() {
        sleep(Duration::from_millis(5)).await;
    }
}

fn dir() -> PathBuf {
    env::var_os("MORTAL_DIR").map_or_else(|| Path::new(".").to_owned(), PathBuf::from)
}

/// Adds a line.
fn note(word: &str, id: &str) {
    es_bus_tests::note(&dir().join("log"), &format!("{word} {id}"));
}

fn order() -> OrderPlaced {
    OrderPlaced { order_id: "o-1".to_owned(), total: 1 }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> es_bus::Result<()> {
    let Some(task) = env::args().nth(1) else { return es_bus::run().await };
    let running = Bus::builder().publish_only().build()?.start().await?;
    if task == "publish" {
        let id = running.publisher().publish(&order()).await.expect("published");
        note("confirmed", &id);
    } else {
        let mut handles = Vec::new();
        for _ in 0..3 {
            let handle = running.publisher().publish_background(&order()).await.expect("accepted");
            note("accepted", handle.id());
            handles.push(handle);
        }
        for handle in handles {
            note("confirmed", &handle.await.expect("published"));
        }
    }
    running.stop_on_signal().await
}
