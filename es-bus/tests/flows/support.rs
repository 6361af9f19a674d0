//! The orders domain, and how a test looks into the broker.

use std::sync::{Arc, Mutex};

use es_bus::{
    event,
    message::{Message, Received},
    name::{ExchangeName, QueueName},
    testing::TestBus,
    transport::{Consume, ConsumeRequest},
};
use serde::{Deserialize, Serialize};

/// An order was placed.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OrderPlaced {
    pub(crate) order_id: String,
    pub(crate) total: u32,
}

/// An order was shipped.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OrderShipped {
    pub(crate) order_id: String,
}

/// An invoice was sent.
#[event(aggregate = "Invoice")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InvoiceSent {
    pub(crate) number: u32,
}

pub(crate) fn placed(order_id: &str) -> OrderPlaced {
    OrderPlaced { order_id: order_id.to_owned(), total: 100 }
}

pub(crate) fn shipped(order_id: &str) -> OrderShipped {
    OrderShipped { order_id: order_id.to_owned() }
}

/// What handlers wrote down, in order.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    pub(crate) fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Everything that is ready in a queue, taken out of it.
pub(crate) async fn take_all(bus: &TestBus, queue: &str) -> Vec<Received> {
    let queue = QueueName::new(queue).unwrap();
    let status = es_bus::transport::Admin::queue_status(&**bus.broker(), &queue).await.unwrap();
    let count = status.unwrap_or_else(|| panic!("there is no queue {queue}")).messages;
    let request = ConsumeRequest { queue, tag: "look".to_owned(), prefetch: 1000, exclusive: false };
    let mut consumer = bus.broker().consume(request).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..count {
        let delivery = consumer.next().await.expect("the queue said it had more").expect("the broker lives");
        taken.push(delivery.received.clone());
        delivery.settle(es_bus::transport::Settlement::Ack);
    }
    consumer.close().await;
    taken
}

/// Publishes a message of another system's making.
pub(crate) async fn publish_raw(bus: &TestBus, routing_key: &str, message: Message) {
    let exchange = ExchangeName::new("events").unwrap();
    bus.publisher().publish_message(exchange, routing_key, message).await.unwrap();
}
