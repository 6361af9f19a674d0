//! The orders domain, and how a test looks into the broker.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use es_bus::{
    BusBuilder, Delivered, event,
    message::{Headers, Message, Properties, Received},
    name::{ExchangeName, QueueName},
    testing::{Observation, TestBus},
    transport::{Admin, Consume, ConsumeRequest, QueueStatus, Settlement, memory::Memory},
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

/// An order was placed.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OrderPlaced {
    pub order_id: String,
    pub total: u32,
}

/// An order was shipped.
#[event(aggregate = "Order", aggregate_id = order_id)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct OrderShipped {
    pub order_id: String,
}

/// An invoice was sent.
#[event(aggregate = "Invoice")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct InvoiceSent {
    pub number: u32,
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
    let status = bus.broker().queue_status(&queue).await.unwrap();
    let count = status.unwrap_or_else(|| panic!("there is no queue {queue}")).messages;
    let request = ConsumeRequest {
        queue,
        tag: "look".to_owned(),
        prefetch: 1000,
        exclusive: false,
        may_hold: 0,
        offset: None,
    };
    let mut consumer = bus.broker().consume(request).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..count {
        let delivery = consumer.next().await.expect("the queue said it had more").expect("the broker lives");
        taken.push(delivery.received.clone());
        delivery.settle(Settlement::Ack);
    }
    consumer.close().await;
    taken
}

/// Publishes a message of another system's making.
pub(crate) async fn publish_raw(bus: &TestBus, routing_key: &str, message: Message) {
    let exchange = ExchangeName::new("events").unwrap();
    bus.publisher().publish_message(exchange, routing_key, message).await.unwrap();
}

/// A message that says `application/json`, and nothing else.
pub(crate) fn foreign(body: impl Into<Bytes>) -> Message {
    Message {
        properties: Properties {
            content_type: Some("application/json".into()),
            persistent: true,
            ..Properties::default()
        },
        headers: Headers::new(),
        body: body.into(),
    }
}

/// A message that claims to be an `OrderPlaced`, with this body.
pub(crate) fn claiming_placed(body: impl Into<Bytes>) -> Message {
    let mut message = foreign(body);
    message.headers.insert("event_type", "OrderPlaced");
    message.headers.insert("aggregate_type", "Order");
    message
}

/// A good `OrderPlaced`, as another system would write it.
pub(crate) fn placed_body(order_id: &str) -> String {
    serde_json::json!({ "order_id": order_id, "total": 100 }).to_string()
}

/// How full a queue is.
pub(crate) async fn status(bus: &TestBus, queue: &str) -> Option<QueueStatus> {
    // Over a connection of its own, so that it can look while the link of the bus is down.
    bus.broker().reconnect().queue_status(&QueueName::new(queue).unwrap()).await.unwrap()
}

/// How many messages are ready in a queue.
pub(crate) async fn ready_in(bus: &TestBus, queue: &str) -> u64 {
    status(bus, queue).await.unwrap_or_else(|| panic!("there is no queue {queue}")).messages
}

/// A bus with a connection of its own to a broker that outlives it.
pub(crate) async fn bus_on(broker: &Memory, configure: impl FnOnce(BusBuilder) -> BusBuilder) -> TestBus {
    TestBus::on(Arc::new(broker.reconnect()), configure).await.unwrap()
}

/// What was observed of deliveries that no handler took.
pub(crate) fn without_handler(bus: &TestBus) -> Vec<Observation> {
    bus.outcomes().into_iter().filter(|seen| seen.handler.is_none()).collect()
}

/// Waits, for a minute of the paused clock at most.
pub(crate) async fn within_a_minute<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(60), future).await {
        Ok(output) => output,
        Err(_elapsed) => panic!("a minute passed, and still not: {what}"),
    }
}

/// Waits until a condition holds, letting time pass.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    within_a_minute(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Lets everything run that can run without time passing.
pub(crate) async fn at_rest() {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}

/// Holds handlers up until the test lets them go.
#[derive(Clone)]
pub(crate) struct Gate {
    entered: Arc<watch::Sender<usize>>,
    permits: Arc<Semaphore>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { entered: Arc::new(watch::Sender::new(0)), permits: Arc::new(Semaphore::new(0)) }
    }
}

impl Gate {
    /// Waits to be let through.
    pub(crate) async fn pass(&self) {
        self.entered.send_modify(|count| *count += 1);
        self.permits.acquire().await.unwrap().forget();
    }

    /// How many have come to the gate so far.
    pub(crate) fn count(&self) -> usize {
        *self.entered.borrow()
    }

    /// Waits until so many have come to the gate.
    pub(crate) async fn entered(&self, count: usize) {
        let mut entered = self.entered.subscribe();
        let what = format!("{count} runs at the gate");
        within_a_minute(&what, entered.wait_for(|entered| *entered >= count)).await.unwrap();
    }

    /// Lets so many through.
    pub(crate) fn open(&self, count: usize) {
        self.permits.add_permits(count);
    }
}

/// A handler's work on an order: waits at the gate, and notes when it begins and when it ends.
pub(crate) async fn work_on(order: &OrderPlaced, delivered: &Delivered, journal: &Journal, gate: &Gate) {
    let mark = if delivered.redelivered { " again" } else { "" };
    journal.note(format!("{}{mark} begins", order.order_id));
    gate.pass().await;
    journal.note(format!("{} ends", order.order_id));
}

/// What was logged, as text.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Logs what happens on this thread, until the guard is dropped.
    pub(crate) fn record(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || log.clone()).finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub(crate) fn lines_with(&self, text: &str) -> Vec<String> {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}
