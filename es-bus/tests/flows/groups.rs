//! What the settings of a group make of its queue.

use std::{sync::Arc, time::Duration};

use es_bus::{
    Attempt, Bus, HandlerError, Registry, State, group, handler,
    message::Message,
    name::ExchangeName,
    testing::TestBus,
    transport::{Transport, memory::Memory},
};

use crate::support::{InvoiceSent, Journal, Log, OrderPlaced, placed, take_all};

#[group(dlx = "dlx.events", dlx_kind = "topic", dlq = "dlq.events", dlq_bind = "#", dlq_key = "{queue}.dead")]
struct Stock;

#[group(dlx = "dlx.events", dlx_kind = "topic", dlq = "dlq.events", dlq_bind = "#", dlq_key = "{queue}.dead")]
struct Billing;

#[handler(group = Stock, retries = 0)]
async fn reserve(_order: OrderPlaced) -> Result<(), String> {
    Err("no stock".to_owned())
}

#[handler(group = Billing, retries = 0)]
async fn bill(_order: OrderPlaced) -> Result<(), HandlerError> {
    Err(HandlerError::reject("no address"))
}

#[tokio::test(start_paused = true)]
async fn groups_that_share_a_dead_letter_queue_are_told_apart_in_it() {
    let registry = Registry::new().handler::<reserve>().handler::<bill>();
    let bus = TestBus::start(|builder| builder.registry(registry)).await.unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    let dead = take_all(&bus, "dlq.events").await;
    let mut told: Vec<_> = dead
        .iter()
        .map(|dead| {
            let headers = &dead.message.headers;
            (dead.routing_key.as_str(), headers.get_str("x-es-queue"), headers.get_str("x-dlq-reason"))
        })
        .collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            ("events.billing.dead", Some("events.billing"), Some("no address")),
            ("events.stock.dead", Some("events.stock"), Some("no stock")),
        ]
    );
    bus.stop().await.unwrap();
}

#[group(on_exhausted = "drop", retries = 1)]
struct Careless;

#[handler(group = Careless)]
async fn fail(_order: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) -> Result<(), String> {
    journal.note(format!("careless {}", attempt.number));
    Err("never".to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_group_without_dead_letters_counts_what_it_drops() {
    let journal = Journal::default();
    let bus =
        TestBus::start(|builder| builder.registry(Registry::new().handler::<fail>()).state(journal.clone()))
            .await
            .unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;
    bus.advance(Duration::from_secs(2)).await;

    assert_eq!(journal.lines(), ["careless 0", "careless 1"]);
    assert_eq!((bus.counts().dropped, bus.counts().dead_lettered), (1, 0));
    bus.stop().await.unwrap();
}

#[group(exclusive, retries = 2)]
struct Caches;

#[handler(group = Caches)]
async fn refresh(order: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) -> Result<(), String> {
    journal.note(format!("{} {}", order.order_id, attempt.number));
    match order.order_id.as_str() {
        "stubborn" => Err("never".to_owned()),
        "slow" if attempt.number == 0 => Err("not yet".to_owned()),
        _ => Ok(()),
    }
}

#[tokio::test(start_paused = true)]
async fn an_exclusive_group_retries_in_memory_and_then_drops() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<refresh>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&placed("slow")).await.unwrap();
    bus.publish(&placed("stubborn")).await.unwrap();
    bus.run_until_idle().await;
    for _ in 0..10 {
        bus.advance(Duration::from_secs(1)).await;
    }

    let mut lines = journal.lines();
    lines.sort();
    assert_eq!(lines, ["slow 0", "slow 1", "stubborn 0", "stubborn 1", "stubborn 2"]);
    let counts = bus.counts();
    assert_eq!((counts.dropped, counts.dead_lettered, counts.retried), (1, 0, 0));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_process_of_an_exclusive_group_hears_everything() {
    let broker = Memory::new();
    let journals = [Journal::default(), Journal::default()];
    let mut running = Vec::new();
    for journal in &journals {
        let bus = Bus::builder()
            .without_environment()
            .url("memory://")
            .transport(Arc::new(broker.reconnect()) as Arc<dyn Transport>)
            .registry(Registry::new().handler::<refresh>())
            .state(journal.clone());
        running.push(bus.build().unwrap().start().await.unwrap());
    }

    running[0].publisher().publish(&placed("o-1")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;

    for journal in &journals {
        assert_eq!(journal.lines(), ["o-1 0"]);
    }
    for handle in running {
        handle.stop().await.unwrap();
    }
}

#[group(kind = "classic", max_priority = 10, concurrency = 1, prefetch = 1, ordering = "none")]
struct Ranked;

#[handler(group = Ranked)]
async fn rank(order: OrderPlaced, State(journal): State<Journal>) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    journal.note(order.order_id);
}

#[tokio::test(start_paused = true)]
async fn urgent_events_overtake_those_that_wait() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<rank>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();
    for (order, priority) in [("first", 0), ("low", 1), ("lower", 0), ("urgent", 9)] {
        bus.publish(&placed(order)).priority(priority).await.unwrap();
    }
    for _ in 0..6 {
        bus.advance(Duration::from_secs(1)).await;
    }

    assert_eq!(journal.lines(), ["first", "urgent", "low", "lower"]);
    bus.stop().await.unwrap();
}

#[group(name = "shared", compat = "eventsource", on_unknown = "skip", retries = 3)]
struct Shared;

#[handler(group = Shared)]
async fn count(_order: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) -> Result<(), String> {
    journal.note(format!("attempt {}", attempt.number));
    Err("never".to_owned())
}

#[tokio::test(start_paused = true)]
async fn in_a_group_shared_with_python_its_count_is_the_attempt() {
    let journal = Journal::default();
    let bus =
        TestBus::start(|builder| builder.registry(Registry::new().handler::<count>()).state(journal.clone()))
            .await
            .unwrap();
    let mut message = Message {
        headers: [("event_type", "OrderPlaced"), ("aggregate_type", "Order")].into_iter().collect(),
        body: br#"{"event_type":"OrderPlaced","order_id":"o-1","total":1}"#.as_slice().into(),
        ..Message::default()
    };
    message.headers.insert("x-retry-count", 2_i64);

    let exchange = ExchangeName::new("events").unwrap();
    bus.publisher().publish_message(exchange, "Order.OrderPlaced", message).await.unwrap();
    bus.run_until_idle().await;
    bus.advance(Duration::from_secs(5)).await;

    assert_eq!(journal.lines(), ["attempt 2", "attempt 3"]);
    let [dead] = &take_all(&bus, "events.shared.dlq").await[..] else { panic!("one dead letter") };
    assert_eq!(dead.message.headers.get_int("x-dlq-retry-count"), Some(3));
    bus.stop().await.unwrap();
}

#[group(name = "unsaid", compat = "eventsource")]
struct Unsaid;

#[handler(group = Unsaid)]
async fn unsaid(_order: OrderPlaced) {}

#[group(name = "ranked-quorum", max_priority = 5)]
struct RankedQuorum;

#[handler(group = RankedQuorum)]
async fn ranked_quorum(_order: OrderPlaced) {}

#[test]
fn what_cannot_be_is_refused_before_the_broker_is_touched() {
    let registry = Registry::new().handler::<unsaid>().handler::<ranked_quorum>();

    let error = Bus::builder()
        .without_environment()
        .url("memory://")
        .registry(registry)
        .set_for_group("unsaid", "message_ttl", "1h")
        .build()
        .unwrap_err();

    let report = format!("{error:?}");
    for part in [
        "group \"unsaid\": compat \"eventsource\" wants on_unknown to be set",
        "\"wait\" while only the Python workers know some of them",
        "group \"unsaid\": compat \"eventsource\" and message_ttl do not go together",
        "group \"ranked-quorum\": max_priority and kind \"quorum\" (built-in) do not go together",
    ] {
        assert!(report.contains(part), "{part}\n{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_that_declares_nothing_says_all_that_is_missing_and_runs_once_it_is_there() {
    let broker = Memory::new();
    let journal = Journal::default();
    let build = |declare: &str| {
        Bus::builder()
            .without_environment()
            .url("memory://")
            .transport(Arc::new(broker.reconnect()) as Arc<dyn Transport>)
            .registry(Registry::new().handler::<fail>())
            .state(journal.clone())
            .set("declare", declare)
            .build()
            .unwrap()
    };

    let report = format!("{:?}", build("passive").start().await.unwrap_err());
    for name in ["exchange \"events\" is missing", "queue \"events.careless\" is missing"] {
        assert!(report.contains(name), "{name}\n{report}");
    }
    build("create").start().await.unwrap().stop().await.unwrap();
    for declare in ["passive", "none"] {
        let running = build(declare).start().await.unwrap();
        running.publisher().publish(&placed("o-1")).await.unwrap();
        running.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_warns_of_the_groups_that_it_consumes_and_notes_what_nobody_takes() {
    let start = || {
        let registry = Registry::new().event::<InvoiceSent>().handler::<reserve>().handler::<bill>();
        TestBus::start(|builder| {
            let builder = builder.registry(registry).groups(["stock"]);
            builder.set_for_group("stock", "message_ttl", "1h").set_for_group("billing", "message_ttl", "1h")
        })
    };
    // Where something is logged for the first time while one test records, by a test that does not, tracing takes
    // nobody to be interested, until the next one begins to record.
    let recording = Log::default().record();
    start().await.unwrap().stop().await.unwrap();
    drop(recording);
    let log = Log::default();
    let _recording = log.record();

    let bus = start().await.unwrap();

    let cautions = log.lines_with("has message_ttl 1h");
    assert!(
        cautions.len() == 1 && cautions[0].contains("WARN") && cautions[0].contains("\"stock\""),
        "{cautions:?}"
    );
    let notes = log.lines_with("no group of this program takes");
    assert!(
        notes.len() == 1 && notes[0].contains("INFO") && notes[0].contains("Invoice.InvoiceSent"),
        "{notes:?}"
    );
    bus.stop().await.unwrap();
}
