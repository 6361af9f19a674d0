//! A service before its deploy; `new.rs` is what is deployed. A group for each kind of change.

mod service;

use es_bus::{Attempt, Metadata, event, group, handler};
use serde::{Deserialize, Serialize};
use service::{OrderPlaced, Sent, run};

type Result = std::result::Result<(), String>;

/// Its handlers come and go; its bindings are exact.
#[group(unknown_delay = "100ms", retries = 3, backoff(base = "200ms", max = "200ms"))]
struct Orders;

#[handler(group = Orders)]
async fn place(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("place", &order.order_id, attempt, &metadata)
}

/// The new build calls it `enter`, and says so.
#[handler(group = Orders)]
async fn book(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("book", &order.order_id, attempt, &metadata)
}

/// The new build calls it `pack`, and does not say so.
#[handler(group = Orders)]
async fn wrap(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("wrap", &order.order_id, attempt, &metadata)
}

/// The new build does not have it.
#[handler(group = Orders)]
async fn audit(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("audit", &order.order_id, attempt, &metadata)
}

/// Bound to more than it handles.
#[group(unknown_delay = "100ms")]
struct Parcels;

#[handler(group = Parcels, bind = "Parcel.*")]
async fn send(parcel: Sent, attempt: Attempt, metadata: Metadata) -> Result {
    run("send", &parcel.order_id, attempt, &metadata)
}

/// A report was drawn.
#[event(aggregate = "Report")]
#[derive(Serialize, Deserialize)]
struct Drawn {
    order_id: String,
}

/// Its binding is widened.
#[group(unknown_delay = "100ms")]
struct Reports;

#[handler(group = Reports)]
async fn draw(report: Drawn, attempt: Attempt, metadata: Metadata) -> Result {
    run("draw", &report.order_id, attempt, &metadata)
}

/// Its events change their fields.
#[group(retries = 0)]
struct Invoicing;

/// Gains a field that may be missing.
#[event(aggregate = "Invoice")]
#[derive(Serialize, Deserialize)]
struct Issued {
    order_id: String,
}

/// Loses a field that this build needs.
#[event(aggregate = "Invoice")]
#[derive(Serialize, Deserialize)]
struct Paid {
    order_id: String,
    method: String,
}

/// Means something else by a field.
#[event(aggregate = "Invoice")]
#[derive(Serialize, Deserialize)]
struct Voided {
    order_id: String,
    number: u32,
}

#[handler(group = Invoicing)]
async fn issue(invoice: Issued, attempt: Attempt, metadata: Metadata) -> Result {
    run("issue", &invoice.order_id, attempt, &metadata)
}

#[handler(group = Invoicing)]
async fn pay(invoice: Paid, attempt: Attempt, metadata: Metadata) -> Result {
    drop(invoice.method);
    run("pay", &invoice.order_id, attempt, &metadata)
}

#[handler(group = Invoicing)]
async fn void(invoice: Voided, attempt: Attempt, metadata: Metadata) -> Result {
    let _ = invoice.number;
    run("void", &invoice.order_id, attempt, &metadata)
}

/// Its policy changes: delays, retries, timeout, prefetch, concurrency, what is unknown.
#[group(
    retries = 2,
    backoff(base = "300ms", max = "300ms", jitter = 0.0),
    timeout = "10s",
    prefetch = 10,
    concurrency = 4,
    unknown_delay = "100ms",
    retry_ladder = ["400ms"]
)]
struct Payments;

#[handler(group = Payments)]
async fn charge(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("charge", &order.order_id, attempt, &metadata)
}

/// What its queues are changes, which a broker does not allow.
#[group(kind = "quorum", dlq_ttl = "1d")]
struct Ledger;

#[handler(group = Ledger)]
async fn enter_in_ledger(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("ledger", &order.order_id, attempt, &metadata)
}

/// The new build does not have the group.
#[handler(group = "mailing")]
async fn mail(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("mail", &order.order_id, attempt, &metadata)
}

#[tokio::main(worker_threads = 2)]
async fn main() -> es_bus::Result<()> {
    service::main(|order_id| {
        (
            Issued { order_id: order_id.clone() },
            Paid { order_id: order_id.clone(), method: "card".to_owned() },
            Voided { order_id, number: 7 },
        )
    })
    .await
}
