//! A handler with state, a publisher, retries of its own, and an error type that says what each
//! failure means; and how it is tested.
//!
//! `cargo run --bin invoicing` places three orders on the in-process broker;
//! `cargo test --bin invoicing` moves the clock through an hour of retries.
#![expect(clippy::print_stdout, reason = "a demonstration shows what it does")]

use std::sync::{Arc, Mutex, PoisonError};

use es_bus::{Bus, BusBuilder, Envelope, Failure, Publisher, State, event, handler};
use serde::{Deserialize, Serialize};

/// A customer placed an order.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: String,
    customer: String,
    total: f64,
}

/// A customer was sent an invoice.
#[event(aggregate = "Invoice")]
#[derive(Serialize, Deserialize)]
struct InvoiceSent {
    order_id: String,
    total: f64,
}

#[derive(Debug, thiserror::Error, Failure)]
enum InvoiceError {
    #[error("the ledger is closed")]
    #[failure(retry_after = "10m")]
    Closed,
    #[error("no such customer")]
    #[failure(reject)] // to the dead-letter queue, now
    NoCustomer,
    #[error("the invoice could not be published")]
    #[failure(retry)] // by the handler's policy
    Publish(#[from] es_bus::PublishError),
}

#[handler(group = "invoicing", retries = 5, backoff(base = "2s", max = "5m"))]
async fn invoice(
    order: Envelope<OrderPlaced>,
    State(ledger): State<Ledger>,
    publisher: Publisher,
) -> Result<(), InvoiceError> {
    ledger.book(&order.customer, order.total)?;
    // What is published here carries on the order's correlation, and names the order as its cause.
    publisher.publish(&InvoiceSent { order_id: order.order_id.clone(), total: order.total }).await?;
    Ok(())
}

#[handler(group = "post")]
async fn send(invoice: InvoiceSent) {
    println!("invoice for {} over {:.2}", invoice.order_id, invoice.total);
}

/// Where invoices are booked: opens at the second try.
#[derive(Clone, Default)]
struct Ledger {
    tries: Arc<Mutex<u32>>,
}

impl Ledger {
    fn book(&self, customer: &str, _total: f64) -> Result<(), InvoiceError> {
        if customer == "nobody" {
            return Err(InvoiceError::NoCustomer);
        }
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        *tries += 1;
        if *tries == 1 { Err(InvoiceError::Closed) } else { Ok(()) }
    }
}

/// The program's bus: `main` runs it, and `check!` checks it.
fn bus() -> BusBuilder {
    Bus::builder().url("memory://").exchange("invoicing").state(Ledger::default())
}

es_bus::check!(bus());

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let running = bus().build()?.start().await?;
    for (order_id, customer) in [("o-1", "c-7"), ("o-2", "c-8"), ("o-3", "nobody")] {
        let order = OrderPlaced { order_id: order_id.into(), customer: customer.into(), total: 49.9 };
        running.publisher().publish(&order).await?;
    }
    while running.counts().handled < 2 || running.counts().dead_lettered < 1 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let counts = running.counts();
    running.stop().await?;
    println!(
        "{} runs succeeded, {} wait for their retry, {} dead letters",
        counts.handled, counts.retried, counts.dead_lettered
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use es_bus::{Registry, testing::TestBus};

    use super::*;

    fn order(customer: &str) -> OrderPlaced {
        OrderPlaced { order_id: "o-1".into(), customer: customer.into(), total: 49.9 }
    }

    #[tokio::test(start_paused = true)]
    async fn sends_the_invoice_when_the_ledger_opens() -> es_bus::Result<()> {
        let bus = TestBus::start(|builder| builder.registry(Registry::collected()).state(Ledger::default()))
            .await?;

        bus.publish(&order("c-7")).await?;
        bus.run_until_idle().await;
        assert_eq!(bus.counts().handled, 0, "the ledger is closed");
        bus.advance(Duration::from_secs(3600)).await;

        assert_eq!(bus.counts().handled, 2, "booked, and posted");
        assert_eq!(bus.counts().dead_lettered, 0);
        bus.stop().await
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_of_nobody_is_a_dead_letter() -> es_bus::Result<()> {
        let bus = TestBus::start(|builder| builder.registry(Registry::collected()).state(Ledger::default()))
            .await?;

        bus.publish(&order("nobody")).await?;
        bus.run_until_idle().await;

        assert_eq!(bus.counts().dead_lettered, 1);
        bus.stop().await
    }
}
