//! The service of `old.rs` after its deploy.

mod service;

use es_bus::{Attempt, Metadata, RawEvent, event, group, handler};
use serde::{Deserialize, Serialize};
use service::{OrderPlaced, Sent, run};

type Result = std::result::Result<(), String>;

/// An order was cancelled: an event that the old build does not know.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderCancelled {
    order_id: String,
}

#[group(unknown_delay = "100ms", retries = 3, backoff(base = "200ms", max = "200ms"))]
struct Orders;

#[handler(group = Orders)]
async fn place(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("place", &order.order_id, attempt, &metadata)
}

#[handler(group = Orders, formerly = ["book"])]
async fn enter(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("enter", &order.order_id, attempt, &metadata)
}

#[handler(group = Orders)]
async fn pack(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("pack", &order.order_id, attempt, &metadata)
}

/// The old build does not have it.
#[handler(group = Orders)]
async fn count(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("count", &order.order_id, attempt, &metadata)
}

/// The old build knows neither the handler nor its event.
#[handler(group = Orders)]
async fn cancel(order: OrderCancelled, attempt: Attempt, metadata: Metadata) -> Result {
    run("cancel", &order.order_id, attempt, &metadata)
}

/// A parcel was lost: under the old build's binding, and unknown to it.
#[event(aggregate = "Parcel")]
#[derive(Serialize, Deserialize)]
struct Lost {
    order_id: String,
}

#[group(unknown_delay = "100ms")]
struct Parcels;

#[handler(group = Parcels, bind = "Parcel.*")]
async fn send(parcel: Sent, attempt: Attempt, metadata: Metadata) -> Result {
    run("send", &parcel.order_id, attempt, &metadata)
}

#[handler(group = Parcels)]
async fn search(parcel: Lost, attempt: Attempt, metadata: Metadata) -> Result {
    run("search", &parcel.order_id, attempt, &metadata)
}

#[group(unknown_delay = "100ms")]
struct Reports;

/// Bound to more than before.
#[handler(group = Reports, bind = "Report.*", foreign)]
async fn draw(report: RawEvent, attempt: Attempt, metadata: Metadata) -> Result {
    run("draw", &report.routing_key, attempt, &metadata)
}

#[group(retries = 0)]
struct Invoicing;

#[event(aggregate = "Invoice")]
#[derive(Serialize, Deserialize)]
struct Issued {
    order_id: String,
    #[serde(default)]
    discount: Option<u32>,
}

#[event(aggregate = "Invoice")]
#[derive(Serialize, Deserialize)]
struct Paid {
    order_id: String,
}

#[event(aggregate = "Invoice")]
#[derive(Serialize, Deserialize)]
struct Voided {
    order_id: String,
    number: String,
}

#[handler(group = Invoicing)]
async fn issue(invoice: Issued, attempt: Attempt, metadata: Metadata) -> Result {
    let discount = invoice.discount.map_or_else(|| "none".to_owned(), |discount| discount.to_string());
    run("issue", &format!("{}-{discount}", invoice.order_id), attempt, &metadata)
}

#[handler(group = Invoicing)]
async fn pay(invoice: Paid, attempt: Attempt, metadata: Metadata) -> Result {
    run("pay", &invoice.order_id, attempt, &metadata)
}

#[handler(group = Invoicing)]
async fn void(invoice: Voided, attempt: Attempt, metadata: Metadata) -> Result {
    drop(invoice.number);
    run("void", &invoice.order_id, attempt, &metadata)
}

#[group(
    retries = 4,
    backoff(base = "150ms", max = "600ms", jitter = 0.2),
    timeout = "20s",
    prefetch = 50,
    concurrency = 8,
    on_unknown = "skip",
    unknown_delay = "250ms",
    retry_ladder = ["500ms"]
)]
struct Payments;

#[handler(group = Payments)]
async fn charge(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("charge", &order.order_id, attempt, &metadata)
}

#[group(kind = "classic", dlq_ttl = "2d")]
struct Ledger;

#[handler(group = Ledger)]
async fn enter_in_ledger(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("ledger", &order.order_id, attempt, &metadata)
}

/// The old build does not have the group.
#[handler(group = "statistics")]
async fn tally(order: OrderPlaced, attempt: Attempt, metadata: Metadata) -> Result {
    run("tally", &order.order_id, attempt, &metadata)
}

#[tokio::main(worker_threads = 2)]
async fn main() -> es_bus::Result<()> {
    service::main(|order_id| {
        (
            Issued { order_id: order_id.clone(), discount: Some(5) },
            Paid { order_id: order_id.clone() },
            Voided { order_id, number: "seven".to_owned() },
        )
    })
    .await
}
