//! An aggregate that decides by its own events: an order is placed once, and shipped once.
//!
//! The aggregate keeps its events in a `Vec`; a save publishes those that are new, in order, under
//! their versions. A projection in another group follows. `cargo run --bin order_aggregate` runs on
//! the in-process broker, `ES_BUS_URL=amqp://…` moves it to RabbitMQ.
#![expect(clippy::print_stdout, reason = "a demonstration shows what it does")]

use std::{error::Error, time::Duration};

use es_bus::{Bus, Metadata, Publisher, State, event, handler};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::timeout};
use uuid::Uuid;

/// What can happen to an order. Published as `Order.OrderPlaced` and `Order.OrderShipped`.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Clone, Debug, Serialize, Deserialize)]
enum OrderEvent {
    OrderPlaced { order_id: Uuid, customer_id: String, total_amount: f64 },
    OrderShipped { order_id: Uuid, tracking_number: String },
}

/// Why an order does not do what it was asked to.
#[derive(Debug, PartialEq, thiserror::Error)]
enum OrderError {
    #[error("Order already placed")]
    AlreadyPlaced,
    #[error("Cannot ship order in current state: {0:?}")]
    CannotShip(Status),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Status {
    Draft,
    Placed,
    Shipped,
}

/// An order: its state is what its events say, and nothing else.
#[derive(Debug)]
struct Order {
    id: Uuid,
    status: Status,
    events: Vec<OrderEvent>,
    /// How many of the events other services know.
    saved: usize,
}

impl Order {
    fn new(id: Uuid) -> Self {
        Self { id, status: Status::Draft, events: Vec::new(), saved: 0 }
    }

    /// The order that a history makes.
    fn load(id: Uuid, history: &[OrderEvent]) -> Self {
        let mut order = Self::new(id);
        history.iter().for_each(|event| order.apply(event.clone()));
        order.saved = order.events.len();
        order
    }

    fn version(&self) -> usize {
        self.events.len()
    }

    fn place(&mut self, customer_id: &str, total_amount: f64) -> Result<(), OrderError> {
        if self.status != Status::Draft {
            return Err(OrderError::AlreadyPlaced);
        }
        let customer_id = customer_id.to_owned();
        self.apply(OrderEvent::OrderPlaced { order_id: self.id, customer_id, total_amount });
        Ok(())
    }

    fn ship(&mut self, tracking_number: &str) -> Result<(), OrderError> {
        if self.status != Status::Placed {
            return Err(OrderError::CannotShip(self.status));
        }
        let tracking_number = tracking_number.to_owned();
        self.apply(OrderEvent::OrderShipped { order_id: self.id, tracking_number });
        Ok(())
    }

    fn apply(&mut self, event: OrderEvent) {
        self.status = match &event {
            OrderEvent::OrderPlaced { .. } => Status::Placed,
            OrderEvent::OrderShipped { .. } => Status::Shipped,
        };
        self.events.push(event);
    }

    /// Publishes what is new, under the version that each event made.
    ///
    /// One after another: a version is out only when those before it are.
    async fn save(&mut self, publisher: &Publisher) -> Result<(), es_bus::PublishError> {
        while let Some(event) = self.events.get(self.saved) {
            publisher.publish(event).aggregate_version(self.saved as u64 + 1).await?;
            self.saved += 1;
        }
        Ok(())
    }
}

/// How many events the projection has seen.
type Seen = watch::Sender<u32>;

#[handler(group = "projections")]
async fn follow(event: OrderEvent, metadata: Metadata, State(seen): State<Seen>) {
    match event {
        OrderEvent::OrderPlaced { customer_id, total_amount, .. } => {
            println!(
                "  [projection] version {}: placed by {customer_id}, ${total_amount:.2}",
                metadata.aggregate_version
            );
        }
        OrderEvent::OrderShipped { tracking_number, .. } => {
            println!("  [projection] version {}: shipped with {tracking_number}", metadata.aggregate_version);
        }
    }
    seen.send_modify(|seen| *seen += 1);
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let seen = Seen::default();
    let bus = Bus::builder().url("memory://").exchange("order_aggregate").state(seen.clone()).build()?;
    let running = bus.start().await?;

    let mut order = Order::new(Uuid::new_v4());
    println!("Order {}", order.id);
    show("ship before it is placed", order.ship("TRACK-00000"));
    show("place", order.place("cust-123", 99.99));
    show("place again", order.place("cust-123", 99.99));
    show("ship", order.ship("TRACK-12345"));
    show("ship again", order.ship("TRACK-67890"));
    order.save(running.publisher()).await?;

    timeout(Duration::from_secs(30), seen.subscribe().wait_for(|seen| *seen == 2)).await??;
    running.stop().await?;

    let loaded = Order::load(order.id, &order.events);
    println!("Loaded from {} events: {:?}, version {}", order.events.len(), loaded.status, loaded.version());
    Ok(())
}

fn show(what: &str, outcome: Result<(), OrderError>) {
    match outcome {
        Ok(()) => println!("  {what}: ok"),
        Err(error) => println!("  {what}: error: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_placed_once_and_shipped_once() {
        let mut order = Order::new(Uuid::from_u128(7));

        assert_eq!(order.ship("T-1"), Err(OrderError::CannotShip(Status::Draft)));
        assert_eq!(order.place("c-1", 10.0), Ok(()));
        assert_eq!(order.place("c-1", 10.0), Err(OrderError::AlreadyPlaced));
        assert_eq!(order.ship("T-1"), Ok(()));
        assert_eq!(order.ship("T-1"), Err(OrderError::CannotShip(Status::Shipped)));
        assert_eq!(order.version(), 2, "what was refused left nothing behind");
    }

    #[test]
    fn a_history_makes_the_same_order() {
        let mut order = Order::new(Uuid::from_u128(7));
        order.place("c-1", 10.0).expect("it is a draft");

        let loaded = Order::load(order.id, &order.events);

        assert_eq!((loaded.status, loaded.version(), loaded.saved), (Status::Placed, 1, 1));
    }
}
