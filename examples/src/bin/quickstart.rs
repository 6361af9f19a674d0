//! An order is placed and shipped; a projection counts, an audit log remembers.
//!
//! `cargo run --bin quickstart` needs no broker: it runs on the one inside the process.
//! `ES_BUS_URL=amqp://guest:guest@localhost:5672/ cargo run --bin quickstart` runs the same program
//! on RabbitMQ.
#![expect(clippy::print_stdout, reason = "a demonstration shows what it does")]

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use es_bus::{Bus, RawEvent, State, event, handler};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::timeout};
use uuid::Uuid;

/// A customer placed an order. Published as `Order.OrderPlaced`.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    order_id: Uuid,
    customer_id: String,
    total_amount: f64,
}

/// An order left the house. Published as `Order.OrderShipped`.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Serialize, Deserialize)]
struct OrderShipped {
    order_id: Uuid,
    tracking_number: String,
}

/// What the projection knows.
#[derive(Clone, Default)]
struct Statistics {
    total_orders: u32,
    total_revenue: f64,
    shipped: u32,
}

/// What the handlers share: the statistics, and the audit log.
#[derive(Clone)]
struct Shop {
    statistics: Arc<Mutex<Statistics>>,
    audit_log: watch::Sender<Vec<String>>,
    handled: watch::Sender<u32>,
}

#[handler(group = "projections")]
async fn count_order(order: OrderPlaced, State(shop): State<Shop>) {
    println!("  [projections] order of {}: ${:.2}", order.customer_id, order.total_amount);
    let mut statistics = shop.statistics.lock().unwrap_or_else(PoisonError::into_inner);
    statistics.total_orders += 1;
    statistics.total_revenue += order.total_amount;
    shop.handled.send_modify(|handled| *handled += 1);
}

#[handler(group = "projections")]
async fn count_shipment(shipment: OrderShipped, State(shop): State<Shop>) {
    println!("  [projections] shipped with {}", shipment.tracking_number);
    shop.statistics.lock().unwrap_or_else(PoisonError::into_inner).shipped += 1;
    shop.handled.send_modify(|handled| *handled += 1);
}

#[handler(group = "audit", bind = "Order.*")]
async fn audit(event: RawEvent, State(shop): State<Shop>) {
    println!("  [audit]       {} ({} bytes)", event.routing_key, event.body().len());
    shop.audit_log.send_modify(|log| log.push(event.routing_key));
    shop.handled.send_modify(|handled| *handled += 1);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let shop = Shop {
        statistics: Arc::default(),
        audit_log: watch::Sender::default(),
        handled: watch::Sender::default(),
    };
    // A default of this program: `ES_BUS_URL` in the environment wins over it.
    let bus = Bus::builder().url("memory://").exchange("quickstart").state(shop.clone()).build()?;
    let running = bus.start().await?;

    let order_id = Uuid::new_v4();
    println!("Order {order_id}");
    let placed = OrderPlaced { order_id, customer_id: "premium-customer".into(), total_amount: 499.99 };
    let shipped = OrderShipped { order_id, tracking_number: "TRACK-12345".into() };
    running.publisher().publish(&placed).aggregate_version(1).await?;
    running.publisher().publish(&shipped).aggregate_version(2).await?;

    // Two events, each for the projection and for the audit log.
    let mut handled = shop.handled.subscribe();
    timeout(Duration::from_secs(30), handled.wait_for(|handled| *handled == 4)).await??;
    running.stop().await?;

    let statistics = shop.statistics.lock().unwrap_or_else(PoisonError::into_inner).clone();
    println!();
    println!("Projection");
    println!("  Total orders:  {}", statistics.total_orders);
    println!("  Total revenue: ${:.2}", statistics.total_revenue);
    println!("  Shipped count: {}", statistics.shipped);
    println!();
    println!("Audit log ({} entries)", shop.audit_log.borrow().len());
    for entry in shop.audit_log.borrow().iter() {
        println!("  {entry}");
    }
    Ok(())
}
