//! Failed events come back, to the handler that failed, until they are handled or dead-lettered.

use std::time::Duration;

use es_bus::{Attempt, Failure, FailureKind, HandlerError, Registry, State, handler, testing::TestBus};

use crate::support::{Journal, Log, OrderPlaced, placed, take_all, within_a_minute};

const MINUTE: Duration = Duration::from_secs(60);

#[handler(group = "shaky")]
async fn always_fails(
    _order: OrderPlaced,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), String> {
    journal.note(format!("always_fails {}", attempt.number));
    Err("the ledger is closed".to_owned())
}

#[handler(group = "shaky", name = "sibling")]
async fn succeeds(_order: OrderPlaced, State(journal): State<Journal>) {
    journal.note("sibling");
}

#[handler(group = "bystanders", bind = "Order.*")]
async fn looks_on(_order: OrderPlaced, State(journal): State<Journal>) {
    journal.note("looks_on");
}

#[tokio::test(start_paused = true)]
async fn retries_the_failing_handler_alone_and_then_dead_letters() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<always_fails>().handler::<succeeds>().handler::<looks_on>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    let id = bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;
    for _ in 0..20 {
        bus.advance(Duration::from_secs(1)).await;
    }

    let lines = journal.lines();
    let runs_of = |handler: &str| lines.iter().filter(|line| line.starts_with(handler)).count();
    assert_eq!(runs_of("always_fails"), 4, "{lines:?}");
    assert_eq!(runs_of("sibling"), 1, "a sibling that succeeded does not run again: {lines:?}");
    assert_eq!(runs_of("looks_on"), 1, "another group never sees a retry: {lines:?}");
    let attempts: Vec<_> = lines.iter().filter(|line| line.starts_with("always_fails")).collect();
    assert_eq!(attempts, ["always_fails 0", "always_fails 1", "always_fails 2", "always_fails 3"]);
    let [dead] = &take_all(&bus, "events.shaky.dlq").await[..] else { panic!("one dead letter") };
    let headers = &dead.message.headers;
    assert_eq!(headers.get_str("x-dlq-reason"), Some("the ledger is closed"));
    assert_eq!(headers.get_str("x-dlq-error-type"), Some("String"));
    assert_eq!(headers.get_int("x-dlq-retry-count"), Some(3));
    assert_eq!(headers.get_str("x-original-routing-key"), Some("Order.OrderPlaced"));
    assert!(headers.get_str("x-dlq-timestamp").is_some());
    assert_eq!(headers.get_str("x-es-handler"), Some("always_fails"));
    assert_eq!(dead.message.properties.message_id.as_deref(), Some(id.as_str()));
    assert!(headers.get("x-es-attempts").is_none(), "a dead letter carries no attempts");
    assert!(headers.get("es-delay").is_none());
    assert_eq!(bus.counts().dead_lettered, 1);
    assert_eq!(bus.counts().retried, 3);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_the_policy_says() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<always_fails>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();
    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    // 1, 2 and 4 seconds, each within 10 per cent.
    bus.advance(Duration::from_millis(890)).await;
    assert_eq!(journal.lines().len(), 1, "not before 0.9 s");
    bus.advance(Duration::from_millis(215)).await;
    assert_eq!(journal.lines().len(), 2, "within 1.1 s");
    bus.advance(Duration::from_millis(1_790)).await;
    assert_eq!(journal.lines().len(), 2, "not before 1.8 s");
    bus.advance(Duration::from_millis(420)).await;
    assert_eq!(journal.lines().len(), 3, "within 2.2 s");
    bus.advance(Duration::from_millis(3_590)).await;
    assert_eq!(journal.lines().len(), 3, "not before 3.6 s");
    bus.advance(Duration::from_millis(820)).await;
    assert_eq!(journal.lines().len(), 4, "within 4.4 s");
    bus.stop().await.unwrap();
}

#[derive(Debug, thiserror::Error, Failure)]
enum LedgerError {
    #[error("the ledger is closed until tomorrow")]
    #[failure(retry_after = "100s")]
    Closed,
    #[error("the order is malformed")]
    #[failure(reject)]
    Malformed,
    #[error("the order was booked already")]
    #[failure(drop)]
    Booked,
}

#[handler(group = "ledger")]
async fn book(
    order: OrderPlaced,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), LedgerError> {
    journal.note(format!("{} {}", order.order_id, attempt.number));
    match order.order_id.as_str() {
        "closed" if attempt.number == 0 => Err(LedgerError::Closed),
        "malformed" => Err(LedgerError::Malformed),
        "booked" => Err(LedgerError::Booked),
        _ => Ok(()),
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_goes_in_rungs_and_never_fires_early() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<book>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&placed("closed")).await.unwrap();
    bus.run_until_idle().await;
    assert_eq!(journal.lines(), ["closed 0"]);
    for _ in 0..99 {
        bus.advance(Duration::from_secs(1)).await;
    }
    assert_eq!(journal.lines(), ["closed 0"], "not before 100 s");
    for _ in 0..10 {
        bus.advance(Duration::from_secs(1)).await;
    }

    assert_eq!(journal.lines(), ["closed 0", "closed 1"], "within a rung of 100 s");
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn reject_dead_letters_at_once_and_drop_forgets() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<book>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&placed("malformed")).await.unwrap();
    bus.publish(&placed("booked")).await.unwrap();
    bus.run_until_idle().await;
    bus.advance(MINUTE).await;

    assert_eq!(journal.lines(), ["malformed 0", "booked 0"]);
    let dead = take_all(&bus, "events.ledger.dlq").await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].message.headers.get_str("x-dlq-reason"), Some("the order is malformed"));
    assert_eq!(dead[0].message.headers.get_str("x-dlq-error-type"), Some("LedgerError"));
    assert_eq!(dead[0].message.headers.get_int("x-dlq-retry-count"), Some(0));
    assert_eq!(bus.counts().dropped, 1);
    bus.stop().await.unwrap();
}

#[handler(group = "verdicts", name = "bare", retries = 0)]
async fn bare(_order: OrderPlaced) -> anyhow::Result<()> {
    Err(LedgerError::Booked.into())
}

#[handler(group = "verdicts", name = "in_context", retries = 0)]
async fn in_context(_order: OrderPlaced) -> anyhow::Result<()> {
    Err(anyhow::Error::from(LedgerError::Booked).context("while booking"))
}

type Booked = Result<(), LedgerError>;

#[handler(group = "verdicts", name = "aliased", retries = 0)]
async fn aliased(_order: OrderPlaced) -> Booked {
    Err(LedgerError::Booked)
}

#[handler(group = "verdicts", name = "own", retries = 0)]
async fn own(_order: OrderPlaced) -> Result<(), HandlerError> {
    fn inner() -> Result<(), LedgerError> {
        Err(LedgerError::Booked)
    }
    inner()?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_verdict_holds_however_the_error_is_returned() {
    let registry =
        Registry::new().handler::<bare>().handler::<in_context>().handler::<aliased>().handler::<own>();
    let bus = TestBus::start(|builder| builder.registry(registry)).await.unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(bus.counts().dropped, 4, "{:?}", bus.outcomes());
    assert_eq!(bus.counts().dead_lettered, 0);
    bus.stop().await.unwrap();
}

#[handler(group = "patient", retries = 1, backoff(base = "30s", max = "30s", jitter = 0.0))]
async fn first(_order: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) -> Result<(), String> {
    journal.note(format!("first {}", attempt.number));
    if attempt.number == 0 { Err("later".to_owned()) } else { Ok(()) }
}

#[handler(group = "patient", retries = 1, backoff(base = "30s", max = "30s", jitter = 0.0))]
async fn second(_order: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) -> Result<(), String> {
    journal.note(format!("second {}", attempt.number));
    if attempt.number == 0 { Err("later".to_owned()) } else { Ok(()) }
}

#[tokio::test(start_paused = true)]
async fn handlers_that_wait_equally_long_share_a_copy() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<first>().handler::<second>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;
    assert_eq!(bus.counts().retried, 1, "one copy for both");
    bus.advance(Duration::from_secs(31)).await;

    let mut lines = journal.lines();
    lines.sort();
    assert_eq!(lines, ["first 0", "first 1", "second 0", "second 1"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tells_a_test_what_became_of_each_run() {
    let registry = Registry::new().handler::<always_fails>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(Journal::default())).await.unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    let outcomes = bus.outcomes();
    let [outcome] = &outcomes[..] else { panic!("one run: {outcomes:?}") };
    assert_eq!(outcome.handler.as_deref(), Some("always_fails"));
    assert_eq!(outcome.event_type.as_deref(), Some("OrderPlaced"));
    assert!(matches!(
        &outcome.fate,
        es_bus::testing::Fate::Retried { kind: FailureKind::Error, after, .. } if *after == Duration::from_secs(1)
    ));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_log_names_an_event_by_the_id_that_its_publisher_gave() {
    let registry = Registry::new().handler::<always_fails>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(Journal::default())).await.unwrap();
    let log = Log::default();
    let _recording = log.record();

    bus.publisher().publish(&placed("o-1")).id("F-0").await.unwrap();
    within_a_minute("it is dead-lettered", bus.run_to_the_end()).await;

    let [id] = &take_all(&bus, "events.shaky.dlq").await[..] else { panic!("one dead letter") };
    assert_ne!(id.message.properties.message_id.as_deref(), Some("F-0"), "on the wire it is a UUID");
    let named = log.lines_with("event_id=");
    assert_eq!(named.len(), 4, "{named:#?}");
    for line in named {
        assert!(line.contains(r#"event_id="F-0""#), "{line}");
    }
    bus.stop().await.unwrap();
}
