//! Two limits around handlers: so many a second, and none while the other side is down.
//!
//! The tax office takes two invoices in half a second. The payment gateway is down at first: three
//! failures in a row open a circuit breaker, which is not ready for a while. Events wait meanwhile,
//! and no attempt of theirs is spent.
//!
//! `cargo run --bin limits` runs on the in-process broker,
//! `ES_BUS_URL=amqp://guest:guest@localhost:5672/ cargo run --bin limits` on RabbitMQ.
#![expect(clippy::print_stdout, reason = "a demonstration shows what it does")]

mod circuit_breaker;

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, Instant},
};

use es_bus::{Attempt, Bus, State, event, group, handler};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::timeout};
use tower::limit::RateLimitLayer;

use self::circuit_breaker::CircuitBreaker;

const HALF_A_SECOND: Duration = Duration::from_millis(500);

#[event(aggregate = "Invoice")]
#[derive(Serialize, Deserialize)]
struct InvoiceIssued {
    number: u32,
}

#[event(aggregate = "Order")]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    number: u32,
}

#[derive(Clone)]
struct Shop {
    handled: watch::Sender<u32>,
    /// So many more calls the payment gateway refuses.
    refusals: Arc<AtomicI32>,
}

/// One at a time, so that what is printed comes in one order.
#[group(concurrency = 1, layer = two_in_half_a_second)]
struct Taxes;

fn two_in_half_a_second() -> RateLimitLayer {
    RateLimitLayer::new(2, HALF_A_SECOND)
}

#[handler(group = Taxes)]
async fn report(invoice: InvoiceIssued, attempt: Attempt, State(shop): State<Shop>) {
    println!("  [taxes]    invoice {}, attempt {}: reported", invoice.number, attempt.number + 1);
    shop.handled.send_modify(|handled| *handled += 1);
}

#[group(concurrency = 1, retries = 3, backoff(base = "1s", max = "1s", jitter = 0.0))]
struct Payments;

#[handler(group = Payments, layer = CircuitBreaker { failures: 3, open_for: HALF_A_SECOND })]
async fn charge(order: OrderPlaced, attempt: Attempt, State(shop): State<Shop>) -> Result<(), &'static str> {
    print!("  [payments] order {}, attempt {}: ", order.number, attempt.number + 1);
    if shop.refusals.fetch_sub(1, Ordering::Relaxed) > 0 {
        println!("the gateway is down");
        return Err("the gateway is down");
    }
    println!("charged");
    shop.handled.send_modify(|handled| *handled += 1);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The gateway refuses three calls, and the first one that asks whether it is back.
    let shop = Shop { handled: watch::Sender::new(0), refusals: Arc::new(AtomicI32::new(4)) };
    let bus = Bus::builder().url("memory://").exchange("limits").state(shop.clone()).build()?;
    let running = bus.start().await?;

    println!("A rate limit: two invoices in half a second");
    let begun = Instant::now();
    for number in 1..=6 {
        running.publisher().publish(&InvoiceIssued { number }).await?;
    }
    until(&shop.handled, 6).await?;
    let in_time = begun.elapsed() >= 2 * HALF_A_SECOND;
    println!("Six took {}\n", if in_time { "a second, as they should" } else { "too short a time" });

    println!("A circuit breaker: opens after three failures in a row");
    for number in 1..=5 {
        running.publisher().publish(&OrderPlaced { number }).await?;
    }
    until(&shop.handled, 6 + 5).await?;
    println!("Failed attempts: {}", running.counts().failed);
    running.stop().await?;
    Ok(())
}

async fn until(handled: &watch::Sender<u32>, count: u32) -> Result<(), Box<dyn Error>> {
    timeout(Duration::from_secs(60), handled.subscribe().wait_for(|handled| *handled == count)).await??;
    Ok(())
}
