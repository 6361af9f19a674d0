//! What failed for good is looked at, sent back to whom it failed, or thrown away; nothing gets lost.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use es_bus::{
    Attempt, BoxFuture, Bus, Delivered, Handle, Metadata, Registry, State,
    dead_letters::{Body, DeadLetter, DeadLetterError, DeadLetters, Filter},
    handler,
    message::{Message, Properties, Value},
    model::{Binding, Exchange, ExchangeKind, Queue, QueueKind},
    name::{ExchangeName, QueueName},
    testing::TestBus,
    transport::{
        Admin, Consume, ConsumeError, ConsumeRequest, Consumer, DeclareError, Link, Publication, Publish,
        PublishError, QueueStatus, Settlement, Transport, memory::Memory,
    },
};
use tokio::{io::AsyncWrite, sync::watch};

use crate::support::{
    Journal, OrderPlaced, OrderShipped, at_rest, bus_on, foreign, placed, ready_in, shipped, status,
};

const DLQ: &str = "events.ledger.dlq";

/// Whether the bug is fixed.
#[derive(Clone, Default)]
struct Fixed(Arc<AtomicBool>);

impl Fixed {
    fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), String> {
        if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err("the ledger is closed".to_owned()) }
    }
}

#[handler(group = "ledger", retries = 0)]
async fn enter(
    order: OrderPlaced,
    attempt: Attempt,
    delivered: Delivered,
    metadata: Metadata,
    State(journal): State<Journal>,
    State(fixed): State<Fixed>,
) -> Result<(), String> {
    fixed.check()?;
    journal.note(format!(
        "enter {} {} {} {}",
        order.order_id, attempt.number, delivered.replayed, metadata.event_id
    ));
    Ok(())
}

#[handler(group = "ledger")]
async fn sibling(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(format!("sibling {}", order.order_id));
}

#[handler(group = "ledger", retries = 0)]
async fn send(
    order: OrderShipped,
    State(journal): State<Journal>,
    State(fixed): State<Fixed>,
) -> Result<(), String> {
    fixed.check()?;
    journal.note(format!("send {}", order.order_id));
    Ok(())
}

#[handler(group = "bystanders", bind = "Order.*")]
async fn look_on(order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(format!("look_on {}", order.order_id));
}

fn registry() -> Registry {
    Registry::new().handler::<enter>().handler::<sibling>().handler::<send>().handler::<look_on>()
}

struct Shop {
    bus: TestBus,
    journal: Journal,
    fixed: Fixed,
    dead: DeadLetters,
}

impl Shop {
    async fn open() -> Self {
        let (journal, fixed) = (Journal::default(), Fixed::default());
        let bus = TestBus::start(|builder| {
            builder.registry(registry()).state(journal.clone()).state(fixed.clone())
        })
        .await
        .unwrap();
        let dead = bus.dead_letters("ledger").unwrap();
        Self { bus, journal, fixed, dead }
    }

    /// A shop where orders of these ids, placed and shipped in turn, have failed.
    async fn with_failed(count: usize) -> Self {
        let shop = Self::open().await;
        for n in 0..count {
            let id = format!("o-{n}");
            if n % 2 == 0 {
                shop.bus.publish(&placed(&id)).await.unwrap();
            } else {
                shop.bus.publish(&shipped(&id)).await.unwrap();
            }
            shop.bus.run_until_idle().await;
        }
        shop
    }

    async fn aggregates(&self) -> Vec<String> {
        self.list().await.into_iter().map(|letter| letter.aggregate_id.unwrap()).collect()
    }

    async fn list(&self) -> Vec<DeadLetter> {
        self.dead.list(usize::MAX).await.unwrap()
    }

    fn runs(&self, handler: &str) -> Vec<String> {
        let lines = self.journal.lines();
        let of = |line: &String| line.split(' ').next() == Some(handler);
        lines.into_iter().filter(of).map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_runs_the_failed_handler_alone_as_if_for_the_first_time() {
    let shop = Shop::open().await;
    let id = shop.bus.publish(&placed("o-1")).await.unwrap();
    shop.bus.run_until_idle().await;
    assert_eq!(shop.dead.count().await.unwrap(), 1);
    shop.fixed.now();

    let report = shop.dead.replay(Filter::all()).await.unwrap();
    shop.bus.run_to_the_end().await;

    assert_eq!((report.matched, report.replayed, report.failed, report.left), (1, 1, 0, 0));
    let lines = shop.journal.lines();
    assert_eq!(shop.runs("sibling").len(), 1, "a handler that succeeded does not run again: {lines:?}");
    assert_eq!(shop.runs("look_on").len(), 1, "another group does not see a replay: {lines:?}");
    assert!(lines.contains(&format!("enter o-1 0 true {id}")), "{lines:?}");
    assert_eq!(shop.dead.count().await.unwrap(), 0);
    assert_eq!((shop.bus.counts().replayed, shop.bus.counts().dead_lettered), (1, 1));
    shop.bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_entry_tells_what_failed_and_why() {
    let shop = Shop::open().await;
    let id = shop.bus.publish(&placed("o-1")).await.unwrap();
    shop.bus.run_until_idle().await;

    let [letter] = &shop.list().await[..] else { panic!("one") };

    assert_eq!(letter.event_id.as_deref(), Some(&*id));
    assert_eq!(letter.event_type.as_deref(), Some("OrderPlaced"));
    assert_eq!(letter.aggregate_type.as_deref(), Some("Order"));
    assert_eq!(letter.aggregate_id.as_deref(), Some("o-1"));
    assert_eq!(letter.exchange.as_deref(), Some("events"));
    assert_eq!(letter.routing_key, "Order.OrderPlaced");
    assert_eq!(letter.queue.as_deref(), Some("events.ledger"));
    assert_eq!(letter.reason, "handler_error");
    assert_eq!(letter.error.as_deref(), Some("the ledger is closed"));
    assert_eq!(letter.error_type.as_deref(), Some("String"));
    assert_eq!(letter.handlers, ["enter"]);
    assert_eq!(letter.retries, Some(0));
    assert!(letter.first_failure_at.is_some() && letter.first_failure_at == letter.last_failure_at);
    assert!(letter.dead_lettered_at.is_some());
    assert_eq!((letter.replays, letter.replayed_at.as_deref(), &letter.deaths), (0, None, &None));
    assert!(letter.preview.starts_with(r#"{"event_id":"#), "{}", letter.preview);
    assert!(letter.body_size > letter.preview.len());
    let json = serde_json::to_value(letter).unwrap();
    assert_eq!(json["handlers"], serde_json::json!(["enter"]));
    let full = shop.dead.show(&letter.id).await.unwrap().expect("it is there");
    let Body::Json(body) = &full.body else { panic!("{:?}", full.body) };
    assert_eq!(body["order_id"], "o-1");
    assert_eq!(full.headers["x-es-handler"], "enter");
    assert_eq!(full.properties["content_type"], "application/json");
    assert_eq!(shop.dead.show("nothing of that name").await.unwrap(), None);
    assert_eq!(shop.dead.count().await.unwrap(), 1, "looking takes nothing away");
    shop.bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_fails_again_is_a_new_entry_and_waits_for_the_next_replay() {
    let shop = Shop::with_failed(3).await;
    let before = shop.list().await;

    let report = shop.dead.replay(Filter::all()).await.unwrap();
    shop.bus.run_to_the_end().await;

    assert_eq!((report.replayed, report.left), (3, 0));
    let after = shop.list().await;
    assert_eq!(after.len(), 3, "each was replayed once");
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.event_id, after.event_id);
        assert_ne!(before.id, after.id);
        assert_eq!((after.replays, after.retries), (1, Some(0)));
        assert_eq!((&after.reason, &after.handlers), (&before.reason, &before.handlers));
        assert!(after.replayed_at.is_some());
    }
    shop.dead.replay(Filter::all()).limit(1).await.unwrap();
    shop.bus.run_to_the_end().await;
    assert_eq!(shop.list().await.iter().map(|it| it.replays).collect::<Vec<_>>(), [1, 1, 2]);
    shop.bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_chosen_stays_in_its_place() {
    let shop = Shop::with_failed(6).await;
    let letters = shop.list().await;
    shop.fixed.now();
    let placed = Filter::all().event_type("OrderPlaced");

    let would = shop.dead.replay(placed.clone()).dry_run().await.unwrap();
    assert_eq!((would.matched, would.replayed, would.left), (3, 0, 6));
    assert_eq!(shop.dead.replay(placed).limit(2).await.unwrap().left, 4);
    assert_eq!(shop.aggregates().await, ["o-1", "o-3", "o-4", "o-5"]);
    let by_id = Filter::one(&letters[3].id).id(&letters[4].id);
    assert_eq!(shop.dead.replay(by_id).await.unwrap().replayed, 2);
    let by_event = Filter::all().event_id(letters[5].event_id.as_deref().unwrap());
    assert_eq!(shop.dead.replay(by_event.clone().reason("timeout")).await.unwrap().matched, 0);
    assert_eq!(
        shop.dead.replay(by_event.reason("timeout").reason("handler_error")).await.unwrap().matched,
        1
    );
    assert_eq!(shop.aggregates().await, ["o-1"]);
    assert_eq!(shop.dead.discard(Filter::all().handler("enter")).await.unwrap(), 0);
    assert_eq!(shop.dead.discard(Filter::all().handler("send").queue("events.ledger")).await.unwrap(), 1);
    shop.bus.run_to_the_end().await;

    assert_eq!(shop.dead.count().await.unwrap(), 0);
    assert_eq!(shop.runs("enter"), ["o-0", "o-2", "o-4"]);
    assert_eq!(shop.runs("send"), ["o-3", "o-5"]);
    assert_eq!((shop.bus.counts().replayed, shop.bus.counts().discarded), (5, 1));
    shop.bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_list_has_each_once_in_order_however_long() {
    let shop = Shop::with_failed(2).await;
    let dlx = ExchangeName::new("events_dlq").unwrap();
    for n in 0..998 {
        let message = foreign(format!("{{\"n\":{n}}}"));
        shop.bus.publisher().publish_message(dlx.clone(), "events.ledger", message).await.unwrap();
    }

    for _ in 0..2 {
        let all = shop.list().await;
        assert_eq!(all.len(), 1000);
        assert!(all.iter().enumerate().all(|(at, letter)| letter.position == at as u64));
        let expected = (0..998).map(|n| format!("{{\"n\":{n}}}"));
        assert!(all[2..].iter().map(|it| it.preview.clone()).eq(expected));
        let few = shop.dead.list(10).await.unwrap();
        assert_eq!(
            few.iter().map(|it| &it.id).collect::<Vec<_>>(),
            all[..10].iter().map(|it| &it.id).collect::<Vec<_>>()
        );
    }
    assert_eq!(shop.dead.list(0).await.unwrap(), []);
    assert_eq!(shop.dead.count().await.unwrap(), 1000);
    shop.bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_every_group_again() {
    let shop = Shop::with_failed(1).await;
    shop.fixed.now();

    shop.dead.replay(Filter::all()).broadcast().await.unwrap();
    shop.bus.run_to_the_end().await;

    assert_eq!(shop.runs("enter"), ["o-0"]);
    assert_eq!(shop.runs("sibling"), ["o-0", "o-0"]);
    assert_eq!(shop.runs("look_on"), ["o-0", "o-0"]);
    shop.bus.stop().await.unwrap();
}

/// What eventsource-py publishes to its dead-letter exchange: its five headers, and none of ours.
fn of_eventsource_py(order_id: &str) -> Message {
    let headers = [
        ("aggregate_id", Value::from("22222222-2222-4222-8222-222222222222")),
        ("aggregate_type", Value::from("Order")),
        ("aggregate_version", Value::int(1)),
        ("event_type", Value::from("OrderPlaced")),
        ("x-dlq-error-type", Value::from("ValueError")),
        ("x-dlq-reason", Value::from("boom: ünïcode\nline2")),
        ("x-dlq-retry-count", Value::int(1)),
        ("x-dlq-timestamp", Value::from("2026-11-21T08:44:55.899049+00:00")),
        ("x-last-retry-at", Value::from("2026-11-21T08:44:55.895695+00:00")),
        ("x-original-routing-key", Value::from("Order.OrderPlaced")),
        ("x-retry-count", Value::int(1)),
    ];
    Message {
        properties: Properties {
            content_type: Some("application/json".into()),
            persistent: true,
            priority: Some(0),
            message_id: Some("11111111-1111-4111-8111-111111111111".into()),
            ..Properties::default()
        },
        headers: headers.into_iter().collect(),
        body: serde_json::json!({ "order_id": order_id, "total": 1 }).to_string().into(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_eventsource_py_wrote_goes_to_all_handlers_of_its_group() {
    let shop = Shop::open().await;
    let dlx = ExchangeName::new("events_dlq").unwrap();
    shop.bus.publisher().publish_message(dlx, "events.ledger", of_eventsource_py("o-1")).await.unwrap();
    shop.fixed.now();

    let [letter] = &shop.list().await[..] else { panic!("one") };
    assert_eq!(letter.id, "11111111-1111-4111-8111-111111111111");
    assert_eq!(letter.error.as_deref(), Some("boom: ünïcode\nline2"));
    assert_eq!((letter.error_type.as_deref(), letter.retries), (Some("ValueError"), Some(1)));
    assert_eq!((&*letter.reason, &*letter.routing_key), ("handler_error", "Order.OrderPlaced"));
    assert_eq!((letter.queue.as_deref(), letter.handlers.len()), (Some("events.ledger"), 0));
    assert_eq!(shop.dead.replay(Filter::one(&letter.id)).await.unwrap().replayed, 1);
    shop.bus.run_to_the_end().await;

    let lines = shop.journal.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.contains(&"enter o-1 0 true 11111111-1111-4111-8111-111111111111".to_owned()), "{lines:?}");
    assert!(lines.contains(&"sibling o-1".to_owned()), "{lines:?}");
    shop.bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_group_of_eventsource_py_alone_is_served_by_the_name_of_its_queue() {
    // What its connect() declares; nothing of ours.
    let broker = Memory::new();
    let (work, dlq) = (QueueName::new("shop.billing").unwrap(), QueueName::new("shop.billing.dlq").unwrap());
    let (home, dlx) = (ExchangeName::new("shop").unwrap(), ExchangeName::new("shop_dlq").unwrap());
    broker.declare_exchange(&Exchange::durable(dlx.clone(), ExchangeKind::Direct)).await.unwrap();
    broker.declare_exchange(&Exchange::durable(home.clone(), ExchangeKind::Topic)).await.unwrap();
    for queue in [&work, &dlq] {
        broker.declare_queue(&Queue::durable(queue.clone(), QueueKind::Classic)).await.unwrap();
    }
    broker.bind(&Binding::by_key(dlx.clone(), dlq.clone(), "shop.billing")).await.unwrap();
    broker.bind(&Binding::by_key(home, work.clone(), "#")).await.unwrap();
    let bus = bus_on(&broker, |builder| builder.registry(Registry::new()).publish_only()).await;
    let dead = bus.dead_letter_queue("shop.billing.dlq").unwrap();
    let fail = async || {
        let message = of_eventsource_py("o-1");
        bus.publisher().publish_message(dlx.clone(), "shop.billing", message).await.unwrap();
    };
    fail().await;
    fail().await;

    assert_eq!(dead.replay(Filter::all()).limit(1).await.unwrap().replayed, 1);
    assert_eq!(dead.replay(Filter::all()).broadcast().await.unwrap().replayed, 1);

    let request = ConsumeRequest {
        queue: work,
        tag: "py".to_owned(),
        prefetch: 9,
        exclusive: false,
        may_hold: 0,
        offset: None,
    };
    let mut consumer = broker.consume(request).await.unwrap();
    for exchange in ["shop.billing.in", "shop"] {
        let received = consumer.next().await.unwrap().unwrap().received.clone();
        assert_eq!((&*received.exchange, &*received.routing_key), (exchange, "Order.OrderPlaced"));
        let headers = &received.message.headers;
        assert_eq!(headers.get_int("x-retry-count"), Some(0));
        assert!(headers.get_str("x-replayed-from-dlq").is_some());
        assert!(headers.iter().all(|(name, _)| !name.starts_with("x-dlq-")), "{headers:?}");
        assert_eq!(
            received.message.properties.message_id.as_deref(),
            Some("11111111-1111-4111-8111-111111111111")
        );
    }
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_dead_lettered_goes_back_to_where_it_died() {
    let broker = Memory::new();
    let (journal, fixed) = (Journal::default(), Fixed::default());
    let first = bus_on(&broker, |builder| builder.registry(registry()).publish_only()).await;
    // Declares the queues and is gone: a consumer that rejects has them to itself.
    let declaring =
        bus_on(&broker, |builder| builder.registry(registry()).state(journal.clone()).state(fixed.clone()))
            .await;
    declaring.stop().await.unwrap();
    first.publish(&placed("o-1")).await.unwrap();
    let work = QueueName::new("events.ledger").unwrap();
    let request = ConsumeRequest {
        queue: work,
        tag: "t".to_owned(),
        prefetch: 1,
        exclusive: false,
        may_hold: 0,
        offset: None,
    };
    let mut consumer = broker.consume(request).await.unwrap();
    consumer.next().await.unwrap().unwrap().settle(Settlement::Reject);
    consumer.close().await;
    let dead = first.dead_letters("ledger").unwrap();

    let [letter] = &dead.list(9).await.unwrap()[..] else { panic!("one") };
    let deaths = letter.deaths.as_ref().expect("it died");
    assert_eq!((&*letter.reason, letter.error.as_deref()), ("rejected", None));
    assert_eq!((letter.queue.as_deref(), &*letter.routing_key), (Some("events.ledger"), "Order.OrderPlaced"));
    assert_eq!(letter.exchange.as_deref(), Some("events"));
    assert_eq!((deaths.count, deaths.first_queue.as_deref()), (1, Some("events.ledger")));
    assert_eq!(
        (deaths.first_reason.as_deref(), deaths.first_exchange.as_deref()),
        (Some("rejected"), Some("events"))
    );

    // By a bus that only publishes, for the group of another.
    assert_eq!(dead.replay(Filter::all().reason("rejected")).await.unwrap().replayed, 1);
    fixed.now();
    let second =
        bus_on(&broker, |builder| builder.registry(registry()).state(journal.clone()).state(fixed)).await;
    second.run_to_the_end().await;
    let lines = journal.lines();
    assert!(lines.iter().any(|line| line.starts_with("enter o-1 0 true")), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("sibling")).count(), 1, "{lines:?}");
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shared_queue_gives_each_its_own() {
    let broker = Memory::new();
    let journal = Journal::default();
    let fixed = Fixed::default();
    let bus =
        bus_on(&broker, |builder| builder.registry(registry()).state(journal.clone()).state(fixed.clone()))
            .await;
    let shared = QueueName::new("all.dead").unwrap();
    let dlx = ExchangeName::new("events_dlq").unwrap();
    broker.declare_queue(&Queue::durable(shared.clone(), QueueKind::Quorum)).await.unwrap();
    for key in ["events.ledger", "events.bystanders"] {
        broker.bind(&Binding::by_key(dlx.clone(), shared.clone(), key)).await.unwrap();
        bus.publisher().publish_message(dlx.clone(), key, of_eventsource_py(key)).await.unwrap();
    }
    fixed.now();

    let report = bus.dead_letter_queue("all.dead").unwrap().replay(Filter::all()).await.unwrap();
    bus.run_to_the_end().await;

    assert_eq!(report.replayed, 2);
    let mut lines: Vec<_> =
        journal.lines().iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    assert_eq!(lines, ["enter events.ledger", "look_on events.bystanders", "sibling events.ledger"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn strange_messages_are_shown_and_stay_when_nothing_tells_where_they_belong() {
    let shop = Shop::open().await;
    let dlq = QueueName::new(DLQ).unwrap();
    let mut hostile = foreign(vec![0xff, 0xfe, 0x00]);
    for name in ["x-es-queue", "x-es-dlq-id", "x-dlq-retry-count", "x-es-replays", "x-death", "aggregate_id"]
    {
        hostile.headers.insert(name, Value::Array(vec![Value::from("x".repeat(9000)), Value::Void]));
    }
    hostile.headers.insert("x-dlq-reason", "e".repeat(50_000));
    let large = foreign("ü".repeat(100_000));
    let mut elsewhere = foreign("{}");
    elsewhere.headers.insert("x-dlq-reason", "r");
    elsewhere.headers.insert("x-dlq-timestamp", "t");
    elsewhere.headers.insert("x-original-routing-key", "Order.OrderPlaced");
    let to = async |exchange: &ExchangeName, key: &str, message: Message| {
        shop.bus.publisher().publish_message(exchange.clone(), key.to_owned(), message).await.unwrap();
    };
    to(&ExchangeName::default_exchange(), DLQ, hostile).await;
    to(&ExchangeName::default_exchange(), DLQ, large).await;
    let alternate = ExchangeName::new("elsewhere").unwrap();
    shop.bus
        .broker()
        .declare_exchange(&Exchange::durable(alternate.clone(), ExchangeKind::Fanout))
        .await
        .unwrap();
    shop.bus.broker().bind(&Binding::by_key(alternate.clone(), dlq, "")).await.unwrap();
    to(&alternate, "no.such.queue", elsewhere).await;

    let letters = shop.list().await;
    assert_eq!(letters.len(), 3);
    assert_eq!((&*letters[0].reason, letters[0].body_size), ("unknown", 3));
    assert_eq!((letters[1].body_size, letters[1].preview.len()), (200_000, 256));
    let full = shop.dead.show(&letters[0].id).await.unwrap().unwrap();
    assert_eq!(serde_json::to_value(&full).unwrap()["body"], serde_json::json!({ "base64": "//4A" }));
    let text = shop.dead.show(&letters[1].id).await.unwrap().unwrap();
    assert!(matches!(&text.body, Body::Text(text) if text.len() == 200_000));

    let report = shop.dead.replay(Filter::all()).await.unwrap();

    assert_eq!((report.matched, report.replayed, report.failed, report.left), (3, 0, 3, 3));
    let reasons: Vec<_> = report.failures.iter().map(|failure| failure.reason.as_str()).collect();
    assert_eq!(reasons[0], "nothing tells the routing key that it was published with");
    assert_eq!(reasons[2], r#"there is no queue "no.such.queue" to replay to"#);
    assert_eq!(
        shop.list().await.iter().map(|it| &it.id).collect::<Vec<_>>(),
        letters.iter().map(|it| &it.id).collect::<Vec<_>>()
    );
    assert_eq!(shop.dead.purge().await.unwrap(), 3);
    shop.bus.stop().await.unwrap();
}

/// Takes so many bytes, and then no more.
#[derive(Clone)]
struct Disk {
    room: usize,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { room: usize::MAX, written: Arc::default() }
    }
}

impl Disk {
    fn lines(&self) -> Vec<serde_json::Value> {
        let written = self.written.lock().unwrap();
        written.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

impl AsyncWrite for Disk {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let mut written = self.written.lock().unwrap();
        let part = bytes.len().min(self.room - written.len());
        if part == 0 {
            return Poll::Ready(Err(std::io::Error::other("the disk is full")));
        }
        written.extend_from_slice(&bytes[..part]);
        Poll::Ready(Ok(part))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_keeps_everything_until_the_export_is_written() {
    let shop = Shop::with_failed(6).await;
    let ids: Vec<String> = shop.list().await.into_iter().map(|letter| letter.id).collect();

    let mut full = Disk { room: 4000, ..Disk::default() };
    let error = shop.dead.export_and_purge(Filter::all(), &mut full).await.unwrap_err();
    assert!(!full.lines().is_empty(), "some of it was written");
    assert_eq!(
        error.to_string(),
        format!("the dead letters of {DLQ:?} could not be exported, and none was removed")
    );
    assert_eq!(shop.list().await.into_iter().map(|it| it.id).collect::<Vec<_>>(), ids);
    let mut disk = Disk::default();
    assert_eq!(shop.dead.export(Filter::all(), &mut disk).await.unwrap(), 6);
    assert_eq!(shop.dead.count().await.unwrap(), 6);
    let mut disk = Disk::default();
    assert_eq!(
        shop.dead.export_and_purge(Filter::all().event_type("OrderShipped"), &mut disk).await.unwrap(),
        3
    );

    let lines = disk.lines();
    assert_eq!(
        lines.iter().map(|line| line["id"].as_str().unwrap()).collect::<Vec<_>>(),
        [&ids[1], &ids[3], &ids[5]]
    );
    let body: serde_json::Value = serde_json::from_str(lines[0]["body"]["text"].as_str().unwrap()).unwrap();
    assert_eq!((&body["order_id"], &lines[0]["headers"]["x-es-handler"]), (&"o-1".into(), &"send".into()));
    assert_eq!(shop.aggregates().await, ["o-0", "o-2", "o-4"]);
    assert_eq!(shop.dead.purge().await.unwrap(), 3);
    assert_eq!((shop.dead.count().await.unwrap(), shop.bus.counts().discarded), (0, 6));
    shop.bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tells_how_far_it_is_with_each_that_it_has_seen_and_is_done_with() {
    let shop = Shop::with_failed(4).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let dead = shop.dead.clone().on_progress(move |it| {
        telling.lock().unwrap().push((it.seen, it.done, it.total));
    });
    let taken = || std::mem::take(&mut *told.lock().unwrap());

    dead.list(usize::MAX).await.unwrap();
    let listed = taken();
    dead.discard(Filter::all().event_type("OrderPlaced")).await.unwrap();
    let discarded = taken();
    let mut file = Vec::new();
    dead.export_and_purge(Filter::all(), &mut file).await.unwrap();
    let exported = taken();
    shop.dead.list(usize::MAX).await.unwrap();

    assert_eq!(listed, [(0, 0, 4), (1, 0, 4), (2, 0, 4), (3, 0, 4), (4, 0, 4)]);
    assert_eq!(discarded, [(0, 0, 4), (1, 0, 4), (1, 1, 4), (2, 1, 4), (3, 1, 4), (3, 2, 4), (4, 2, 4)]);
    // Nothing is gone before all is written.
    assert_eq!(exported, [(0, 0, 2), (1, 0, 2), (2, 0, 2), (2, 1, 2), (2, 2, 2)]);
    assert_eq!(taken(), [], "the other handle tells nobody");
}

#[tokio::test(start_paused = true)]
async fn one_call_at_a_time_and_the_other_is_told() {
    let broker = Memory::new();
    let buses = [tool(&broker).await, tool(&broker).await];
    let dlq = QueueName::new(DLQ).unwrap();
    broker.declare_queue(&Queue::durable(dlq.clone(), QueueKind::Quorum)).await.unwrap();
    let publication = |n: u32| Publication {
        exchange: ExchangeName::default_exchange(),
        routing_key: DLQ.into(),
        message: foreign(n.to_string()),
        mandatory: true,
        lane: None,
    };
    for n in 0..100 {
        broker.publish(&publication(n)).await.unwrap();
    }
    let lock = QueueName::new("events.ledger.dlq.lock").unwrap();
    let [here, there] = buses.each_ref().map(|bus| bus.dead_letters("ledger").unwrap());

    let mut listing = pin!(here.list(100));
    while broker.queue_status(&dlq).await.unwrap().unwrap().messages == 100 {
        assert!(poll_once(listing.as_mut()).is_none(), "not yet");
    }
    for other in [&here, &there] {
        let error = other.purge().await.unwrap_err();
        assert!(matches!(error, DeadLetterError::Busy { .. }) && error.may_pass(), "{error:?}");
        assert!(error.to_string().contains("events.ledger.dlq.lock"), "{error}");
    }
    assert_eq!(listing.await.unwrap().len(), 100);

    assert_eq!(there.purge().await.unwrap(), 100);
    assert_eq!(broker.queue_status(&lock).await.unwrap(), None, "the lock is gone");
    // A tool that is killed takes its connection along.
    broker.publish(&publication(0)).await.unwrap();
    let mut killed = Box::pin(there.list(1));
    while broker.queue_status(&lock).await.is_ok_and(|status| status.is_none()) {
        assert!(poll_once(killed.as_mut()).is_none(), "not yet");
    }
    std::mem::forget(killed);
    let [first, second] = buses;
    second.stop().await.unwrap();
    assert_eq!(here.list(9).await.unwrap().len(), 1);
    first.stop().await.unwrap();
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A broker that takes its time over every answer, as one behind a network does: the in-process one
/// answers at once, and a call could be stopped nowhere.
struct Slow(Memory);

macro_rules! slowly {
    ($answer:expr) => {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let answer = $answer.await;
            tokio::task::yield_now().await;
            answer
        })
    };
}

impl Transport for Slow {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn link(&self) -> watch::Receiver<Link> {
        self.0.link()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}

impl Admin for Slow {
    fn declare_exchange<'a>(&'a self, exchange: &'a Exchange) -> BoxFuture<'a, Result<(), DeclareError>> {
        slowly!(self.0.declare_exchange(exchange))
    }

    fn declare_queue<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), DeclareError>> {
        slowly!(self.0.declare_queue(queue))
    }

    fn bind<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), DeclareError>> {
        slowly!(self.0.bind(binding))
    }

    fn unbind<'a>(&'a self, binding: &'a Binding) -> BoxFuture<'a, Result<(), DeclareError>> {
        slowly!(self.0.unbind(binding))
    }

    fn delete_queue<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<(), DeclareError>> {
        slowly!(self.0.delete_queue(queue))
    }

    fn delete_exchange<'a>(&'a self, exchange: &'a ExchangeName) -> BoxFuture<'a, Result<(), DeclareError>> {
        slowly!(self.0.delete_exchange(exchange))
    }

    fn exchange_exists<'a>(
        &'a self,
        exchange: &'a ExchangeName,
    ) -> BoxFuture<'a, Result<bool, DeclareError>> {
        slowly!(self.0.exchange_exists(exchange))
    }

    fn queue_status<'a>(
        &'a self,
        queue: &'a QueueName,
    ) -> BoxFuture<'a, Result<Option<QueueStatus>, DeclareError>> {
        slowly!(self.0.queue_status(queue))
    }

    fn purge<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<u64, DeclareError>> {
        slowly!(self.0.purge(queue))
    }
}

impl Publish for Slow {
    fn publish<'a>(&'a self, publication: &'a Publication) -> BoxFuture<'a, Result<(), PublishError>> {
        slowly!(self.0.publish(publication))
    }
}

impl Consume for Slow {
    fn consume(&self, request: ConsumeRequest) -> BoxFuture<'_, Result<Consumer, ConsumeError>> {
        slowly!(self.0.consume(request))
    }
}

/// A tool of its own beside the bus, on a slow connection to the same broker.
async fn tool(broker: &Memory) -> Handle {
    let bus = Bus::builder()
        .without_environment()
        .url("memory://")
        .registry(registry())
        .publish_only()
        .transport(Arc::new(Slow(broker.reconnect())))
        .build()
        .unwrap();
    bus.start().await.unwrap()
}

/// Drops a call at each of its awaits in turn, as a kill would end it.
async fn dropped_at_each_await<T>(
    mut call: impl AsyncFnMut(&DeadLetters) -> Result<T, DeadLetterError>,
    mut after_each: impl AsyncFnMut(&Shop, bool),
) {
    for polls in 0.. {
        let shop = Shop::with_failed(4).await;
        shop.fixed.now();
        let tool = tool(shop.bus.broker()).await;
        let dead = tool.dead_letters("ledger").unwrap();
        let mut is_done = false;
        {
            let mut call = pin!(call(&dead));
            for _ in 0..polls {
                at_rest().await;
                match poll_once(call.as_mut()) {
                    Some(result) => {
                        result.map(drop).expect("it ends well when it ends");
                        is_done = true;
                        break;
                    }
                    // Where it waits for a time to pass, or for another task.
                    None => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        }
        // What a kill does; a call that is merely dropped clears up by itself.
        if polls % 2 == 0 {
            tool.stop().await.unwrap();
        } else {
            at_rest().await;
        }
        after_each(&shop, is_done).await;
        shop.bus.stop().await.unwrap();
        if is_done {
            assert!(polls > 3, "it was cut short {polls} times");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_cut_short_anywhere_loses_nothing() {
    dropped_at_each_await(
        async |dead| dead.replay(Filter::all().event_type("OrderPlaced")).await,
        async |shop, is_done| {
            shop.bus.run_to_the_end().await;
            let left = shop.aggregates().await;
            let ran = shop.runs("enter");
            for id in ["o-0", "o-2"] {
                assert!(
                    left.contains(&id.to_owned()) || ran.contains(&id.to_owned()),
                    "{id}: {left:?} {ran:?}"
                );
            }
            // In order, whatever became of the others.
            let others: Vec<_> = left.iter().filter(|id| *id == "o-1" || *id == "o-3").collect();
            assert_eq!(others, ["o-1", "o-3"]);
            assert!(left.is_sorted(), "{left:?}");
            if is_done {
                assert_eq!((left.len(), ran.len()), (2, 2));
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_is_cut_short_anywhere_has_exported_what_is_gone() {
    let disk = Disk::default();
    dropped_at_each_await(
        async |dead| {
            disk.written.lock().unwrap().clear();
            dead.export_and_purge(Filter::all(), &mut disk.clone()).await
        },
        async |shop, is_done| {
            let left = shop.aggregates().await;
            let written = disk.lines();
            assert!(left.is_sorted(), "{left:?}");
            // All of it was written before any of it was gone.
            assert!(left.len() == 4 || written.len() == 4, "{left:?} {written:?}");
            if is_done {
                assert_eq!((left.len(), written.len()), (0, 4));
            }
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_cut_short_anywhere_takes_nothing() {
    dropped_at_each_await(
        async |dead| dead.list(2).await,
        async |shop, _| {
            assert_eq!(shop.aggregates().await, ["o-0", "o-1", "o-2", "o-3"]);
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn new_dead_letters_are_for_the_next_call() {
    let shop = Shop::with_failed(4).await;
    let mut seen = Vec::new();
    let dlx = ExchangeName::new("events_dlq").unwrap();
    let tool = tool(shop.bus.broker()).await;
    let dead = tool.dead_letters("ledger").unwrap();
    let mut purge = pin!(dead.purge());
    loop {
        if let Some(purged) = poll_once(purge.as_mut()) {
            seen.push(purged.unwrap());
            break;
        }
        let message = foreign(format!("{}", seen.len()));
        shop.bus.publisher().publish_message(dlx.clone(), "events.ledger", message).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let left = shop.list().await;
    assert!(!left.is_empty());
    // Those that came before they were counted are among what was purged; none is both, or neither.
    assert!(left.iter().all(|letter| letter.reason == "unknown"), "{left:#?}");
    shop.bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_missing_group_and_a_missing_queue_are_said() {
    let shop = Shop::open().await;

    let error = shop.bus.dead_letters("leger").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no group \"leger\" in this program (did you mean \"ledger\"?); `dead_letter_queue` opens the queue \
         of another program by its name"
    );
    let error = shop.bus.dead_letters("shipping").unwrap_err();
    assert!(error.to_string().contains(r#"only "bystanders", "ledger""#), "{error}");
    assert!(matches!(shop.bus.dead_letter_queue("").unwrap_err(), DeadLetterError::Name(_)));
    let missing = shop.bus.dead_letter_queue("nothing.dlq").unwrap();
    for error in [
        missing.count().await.map(drop).unwrap_err(),
        missing.list(1).await.map(drop).unwrap_err(),
        missing.replay(Filter::all()).await.map(drop).unwrap_err(),
        missing.purge().await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(&error, DeadLetterError::NoQueue { queue } if queue == "nothing.dlq"), "{error:?}");
    }
    assert_eq!(status(&shop.bus, "nothing.dlq.lock").await, None);
    shop.bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn too_many_are_an_error_for_an_alert() {
    let shop = Shop::with_failed(3).await;

    assert_eq!(shop.dead.check(3).await.unwrap(), 3);
    let error: es_bus::Error = shop.dead.check(2).await.unwrap_err().into();

    assert_eq!(error.to_string(), format!("3 dead letters in {DLQ:?}, more than 2"));
    shop.bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_in_the_middle_is_said_and_loses_nothing() {
    let shop = Shop::with_failed(4).await;
    shop.fixed.now();
    let broker = shop.bus.broker();
    let mut lost = 0;
    for cut_after in 1..10 {
        let own = broker.reconnect();
        let tool = Bus::builder()
            .without_environment()
            .url("memory://")
            .registry(registry())
            .publish_only()
            .transport(Arc::new(Slow(own.clone())));
        let tool = tool.build().unwrap().start().await.unwrap();
        let dead = tool.dead_letters("ledger").unwrap();
        let mut call = pin!(dead.list(9));
        for _ in 0..cut_after {
            assert!(poll_once(call.as_mut()).is_none());
        }
        own.faults().cut_link();
        match call.await {
            // It was lost before anything was taken, and made anew.
            Ok(letters) => assert_eq!(letters.len(), 4),
            Err(DeadLetterError::Interrupted { done: 0, .. }) => lost += 1,
            Err(error) => panic!("{error:?}"),
        }
        tool.stop().await.unwrap();
    }
    assert!(lost > 3, "{lost}");
    assert_eq!(shop.aggregates().await, ["o-0", "o-1", "o-2", "o-3"]);

    shop.bus.broker().faults().refuse_publishes(1);
    let report = shop.dead.replay(Filter::all()).await.unwrap();
    assert_eq!((report.replayed, report.failed, report.left), (3, 1, 1));
    assert!(report.failures[0].reason.contains("it is full"), "{:?}", report.failures);
    assert_eq!(shop.aggregates().await, ["o-0"]);
    let running: Bus = Bus::builder()
        .without_environment()
        .url("memory://")
        .registry(Registry::new())
        .publish_only()
        .build()
        .unwrap();
    let handle = running.start().await.unwrap();
    let dead = handle.dead_letter_queue(DLQ).unwrap();
    handle.stop().await.unwrap();
    let error = dead.count().await.unwrap_err();
    assert!(error.to_string().contains("the bus is closed"), "{error}");
    assert_eq!(ready_in(&shop.bus, DLQ).await, 1);
    shop.bus.stop().await.unwrap();
}

/// A web server holds what it calls across threads.
#[test]
fn calls_can_be_sent_to_other_threads() {
    fn is_send<T: Send>(_: &T) {}
    fn all(dead: &DeadLetters, disk: &mut Disk) {
        is_send(&dead.count());
        is_send(&dead.list(1));
        is_send(&dead.show("id"));
        is_send(&dead.replay(Filter::all()).into_future());
        is_send(&dead.discard(Filter::all()));
        is_send(&dead.export_and_purge(Filter::all(), disk));
    }
    let _ = all;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_holds_the_next_event_until_somebody_makes_room() {
    let (journal, fixed) = (Journal::default(), Fixed::default());
    let bus = TestBus::start(|builder| {
        builder.registry(registry()).state(journal.clone()).state(fixed.clone()).set("dlq_max_length", "1")
    })
    .await
    .unwrap();
    let dead = bus.dead_letters("ledger").unwrap();
    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;
    bus.publish(&placed("o-2")).await.unwrap();

    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(dead.list(9).await.unwrap().len(), 1);
    assert_eq!(bus.broker().pending().unsettled, 1, "with its worker, not acknowledged");
    assert_eq!(dead.discard(Filter::all()).await.unwrap(), 1);
    bus.run_until_idle().await;

    let letters = dead.list(9).await.unwrap();
    assert_eq!(letters.iter().map(|it| it.aggregate_id.as_deref()).collect::<Vec<_>>(), [Some("o-2")]);
    bus.stop().await.unwrap();
}
