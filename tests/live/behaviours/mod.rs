//! The behaviours that eventsource-py's integration tests hold, under the names that they have
//! there: whoever comes from that library finds what they know.
//!
//! One file per class. Where es-bus deliberately differs, the test says what it does instead.

mod batch;
mod connection;
mod consumer_groups;
mod dead_letters;
mod edge_cases;
mod exchange_types;
mod publishing;
mod retry;
mod round_trip;
mod shutdown;
mod stats;
mod subscription;

use es_bus::{Handle, RawEvent, Registry, State, handler};
use es_bus_tests::{Node, Vhost};

use crate::support::{Journal, OrderPlaced, OrderShipped, start};

#[handler(group = "projections")]
async fn on_placed(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(format!("placed {} {}", order.order_id, order.total));
}

#[handler(group = "projections")]
async fn on_shipped(order: OrderShipped, State(journal): State<Journal>) {
    journal.note(format!("shipped {}", order.order_id));
}

#[handler(group = "audit", bind = "#")]
async fn on_anything(event: RawEvent, State(journal): State<Journal>) {
    journal.note(format!("audit {}", event.routing_key));
}

/// Everything that happens to orders, as it comes.
fn audit() -> Registry {
    Registry::new().event::<OrderPlaced>().event::<OrderShipped>().handler::<on_anything>()
}

/// A virtual host of the test's own, and a bus on it with a group of two handlers.
async fn projections(name: &str) -> (Vhost, Journal, Handle) {
    let vhost = Node::shared().vhost(name);
    let journal = Journal::default();
    let registry = Registry::new().handler::<on_placed>().handler::<on_shipped>();
    let bus = start(&vhost, registry, &journal).await;
    (vhost, journal, bus)
}
