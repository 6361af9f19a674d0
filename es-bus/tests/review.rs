//! What a review of the worker, the publisher and the bus found, held to account.

#![cfg(feature = "testing")]
#![expect(clippy::unwrap_used, reason = "a test may panic: that is how it fails")]

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use es_bus::{
    Bus, Handle, PublishError, Publisher, Registry, State, event, handler,
    model::{Binding, Exchange, Queue},
    name::{ExchangeName, QueueName},
    testing::TestBus,
    transport::{
        Admin, Consume, ConsumeError, ConsumeRequest, Consumer, DeclareError, Link, LinkState, Publication,
        Publish, QueueStatus, Transport, TransportError, memory::Memory,
    },
};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::sleep};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A step of something, with a number to see the order by.
#[event(aggregate = "Order", aggregate_id = of)]
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Step {
    of: String,
    number: u32,
}

fn step(number: u32) -> Step {
    Step { of: "a".to_owned(), number }
}

#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<u32>>>);

impl Journal {
    fn numbers(&self) -> Vec<u32> {
        self.0.lock().unwrap().clone()
    }
}

#[handler(group = "steps")]
async fn take(step: Step, State(journal): State<Journal>) {
    journal.0.lock().unwrap().push(step.number);
}

#[handler(group = "steps")]
async fn fail(_step: Step) -> Result<(), String> {
    Err("it always does".to_owned())
}

/// An error that cannot even be printed.
#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no words")
    }
}

impl std::error::Error for Unspeakable {}

#[handler(group = "steps")]
async fn fail_without_words(_step: Step) -> Result<(), Unspeakable> {
    Err(Unspeakable)
}

async fn ready_in(broker: &Memory, queue: &str) -> u64 {
    let queue = QueueName::new(queue).unwrap();
    broker.queue_status(&queue).await.unwrap().map_or(0, |status| status.messages)
}

/// A broker that can be made to refuse in ways that only a server does.
struct Stubborn {
    memory: Memory,
    link: watch::Sender<Link>,
    /// How many times each declaration of a queue is refused, as by a node that is down.
    refused_queues: AtomicUsize,
    /// Whether a message that goes anywhere but to the home exchange is too large.
    copies_too_large: bool,
    published: Mutex<Vec<String>>,
}

impl Stubborn {
    fn new(copies_too_large: bool) -> Arc<Self> {
        Arc::new(Self {
            memory: Memory::new(),
            link: watch::Sender::new(Link {
                state: LinkState::Up,
                generation: 1,
                failures: 0,
                blocked: None,
            }),
            refused_queues: AtomicUsize::new(0),
            copies_too_large,
            published: Mutex::default(),
        })
    }
}

impl Transport for Stubborn {
    fn describe(&self) -> String {
        "a stubborn broker".to_owned()
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.memory.close()
    }
}

impl Publish for Stubborn {
    fn publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, Result<(), PublishError>> {
        self.published.lock().unwrap().push(publication.exchange.as_str().to_owned());
        if self.copies_too_large && publication.exchange.as_str() != "events" {
            let error = PublishError::TooLarge { what: "the body".to_owned(), size: 2, limit: 1 };
            return Box::pin(async { Err(error) });
        }
        self.memory.publish(publication)
    }
}

impl Consume for Stubborn {
    fn consume(&self, request: ConsumeRequest) -> BoxFuture<'_, Result<Consumer, ConsumeError>> {
        self.memory.consume(request)
    }
}

impl Admin for Stubborn {
    fn declare_exchange<'a>(&'a self, exchange: &'a Exchange) -> BoxFuture<'a, Result<(), DeclareError>> {
        self.memory.declare_exchange(exchange)
    }

    fn declare_queue<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), DeclareError>> {
        let left = self.refused_queues.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if left.is_ok() {
            let name = queue.name.as_str().to_owned();
            let reason = "home node 'rabbit@b' of durable queue is down or inaccessible".to_owned();
            return Box::pin(async { Err(DeclareError::Refused { what: "queue", name, reason }) });
        }
        self.memory.declare_queue(queue)
    }

    fn bind<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), DeclareError>> {
        self.memory.bind(binding)
    }

    fn unbind<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), DeclareError>> {
        self.memory.unbind(binding)
    }

    fn delete_queue<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<(), DeclareError>> {
        self.memory.delete_queue(queue)
    }

    fn delete_exchange<'a>(&'a self, exchange: &'a ExchangeName) -> BoxFuture<'a, Result<(), DeclareError>> {
        self.memory.delete_exchange(exchange)
    }

    fn exchange_exists<'a>(
        &'a self,
        exchange: &'a ExchangeName,
    ) -> BoxFuture<'a, Result<bool, DeclareError>> {
        self.memory.exchange_exists(exchange)
    }

    fn queue_status<'a>(
        &'a self,
        queue: &'a QueueName,
    ) -> BoxFuture<'a, Result<Option<QueueStatus>, DeclareError>> {
        self.memory.queue_status(queue)
    }

    fn purge<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<u64, DeclareError>> {
        self.memory.purge(queue)
    }
}

async fn start_on(broker: &Arc<Stubborn>, registry: Registry, journal: &Journal) -> Handle {
    let bus = Bus::builder()
        .without_environment()
        .url("memory://")
        .transport(Arc::clone(broker) as _)
        .registry(registry)
        .state(journal.clone());
    bus.build().unwrap().start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn publishes_of_one_aggregate_keep_their_order_when_the_first_is_sent_again() {
    let journal = Journal::default();
    let bus =
        TestBus::start(|builder| builder.registry(Registry::new().handler::<take>()).state(journal.clone()))
            .await
            .unwrap();

    bus.broker().faults().lose_publishes(1);
    let (first, second, third) = (step(1), step(2), step(3));
    let (first, second, third) = tokio::join!(bus.publish(&first), bus.publish(&second), bus.publish(&third));
    first.unwrap();
    second.unwrap();
    third.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.numbers(), [1, 2, 3]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_new_is_begun_while_the_broker_takes_no_publishes() {
    let journal = Journal::default();
    let bus =
        TestBus::start(|builder| builder.registry(Registry::new().handler::<take>()).state(journal.clone()))
            .await
            .unwrap();
    let other: Publisher = bus.publisher().clone();
    other.publish(&step(1)).await.unwrap();
    bus.run_until_idle().await;
    bus.broker().faults().cut_link_for(Duration::from_secs(1));
    sleep(Duration::from_millis(10)).await;
    bus.broker().faults().block("disk");
    sleep(Duration::from_secs(5)).await;
    // A publish from elsewhere, from before the alarm.
    bus.broker().faults().unblock();
    other.publish(&step(2)).await.unwrap();
    bus.broker().faults().block("disk");
    sleep(Duration::from_secs(60)).await;

    assert_eq!(journal.numbers(), [1]);
    bus.broker().faults().unblock();
    bus.run_until_idle().await;
    assert_eq!(journal.numbers(), [1, 2]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_bus_ends_when_the_broker_refuses_it_for_good_and_its_consumers_could_go_on() {
    let broker = Stubborn::new(false);
    let handle = start_on(&broker, Registry::new().handler::<take>(), &Journal::default()).await;
    sleep(Duration::from_secs(1)).await;

    let refused = TransportError::Login {
        address: "amqp://x".to_owned(),
        reason: "no".to_owned(),
        remedy: "yes".to_owned(),
    };
    broker.link.send_modify(|link| link.state = LinkState::Fatal(Arc::new(refused)));
    let ended = tokio::time::timeout(Duration::from_secs(60), handle.wait()).await;

    let error = ended.expect("the bus ends").unwrap_err();
    assert!(format!("{error:?}").contains("refused the login"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_whose_node_is_down_after_a_reconnect_is_waited_for() {
    let broker = Stubborn::new(false);
    let journal = Journal::default();
    let handle = start_on(&broker, Registry::new().handler::<take>(), &journal).await;
    sleep(Duration::from_secs(1)).await;

    broker.refused_queues.store(20, Ordering::SeqCst);
    broker.link.send_modify(|link| link.generation += 1);
    handle.publisher().publish(&step(1)).await.unwrap();
    sleep(Duration::from_secs(1)).await;

    assert_eq!(journal.numbers(), [1]);
    assert_eq!(broker.refused_queues.load(Ordering::SeqCst), 0);
    handle.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_copy_is_too_large_for_the_broker_is_dead_lettered_as_it_came() {
    let broker = Stubborn::new(true);
    let handle = start_on(&broker, Registry::new().handler::<fail>(), &Journal::default()).await;

    handle.publisher().publish(&step(1)).await.unwrap();
    sleep(Duration::from_secs(60)).await;

    assert_eq!(ready_in(&broker.memory, "events.steps.dlq").await, 1);
    assert_eq!(broker.memory.pending().unsettled, 0);
    handle.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_when_it_is_printed_does_not_lose_its_event() {
    let bus = TestBus::start(|builder| builder.registry(Registry::new().handler::<fail_without_words>()))
        .await
        .unwrap();

    bus.publish(&step(1)).await.unwrap();
    bus.publish(&step(2)).await.unwrap();
    bus.run_to_the_end().await;

    assert_eq!(ready_in(bus.broker(), "events.steps.dlq").await, 2);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publish_to_a_missing_exchange_of_somebody_else_declares_nothing_anew() {
    let broker = Stubborn::new(false);
    let handle = start_on(&broker, Registry::new().handler::<take>(), &Journal::default()).await;
    sleep(Duration::from_secs(1)).await;

    broker.refused_queues.store(1, Ordering::SeqCst);
    let elsewhere = ExchangeName::new("elsewhere").unwrap();
    for _ in 0..2 {
        let message = es_bus::message::Message::default();
        let error = handle.publisher().publish_message(elsewhere.clone(), "k", message).await.unwrap_err();
        assert!(matches!(error, PublishError::NoExchange { .. }), "{error:?}");
    }

    assert_eq!(broker.refused_queues.load(Ordering::SeqCst), 1, "the topology was not looked at");
    handle.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_somebody_removed_is_made_anew_for_the_next_publish() {
    let journal = Journal::default();
    let bus =
        TestBus::start(|builder| builder.registry(Registry::new().handler::<take>()).state(journal.clone()))
            .await
            .unwrap();
    let binding = Binding::by_key(
        ExchangeName::new("events").unwrap(),
        QueueName::new("events.steps").unwrap(),
        "Order.Step",
    );
    bus.broker().unbind(&binding).await.unwrap();

    let error = bus.publish(&step(1)).await.unwrap_err();
    assert!(matches!(error, PublishError::Unroutable { .. }), "{error:?}");
    bus.publish(&step(2)).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.numbers(), [2]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_cancelled_again_and_again_is_not_hammered() {
    let bus = TestBus::start(|builder| {
        builder.registry(Registry::new().handler::<take>()).state(Journal::default())
    })
    .await
    .unwrap();
    let queue = QueueName::new("events.steps").unwrap();

    for _ in 0..6000 {
        bus.broker().faults().delete_queue(&queue);
        sleep(Duration::from_millis(10)).await;
    }

    let starts = bus.counts().consumers;
    assert!(starts < 15, "{starts} consumers in a minute");
    bus.stop().await.unwrap();
}
