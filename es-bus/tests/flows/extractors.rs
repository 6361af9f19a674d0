//! What a handler's arguments give, and an extractor of one's own that is a transaction.

use std::{sync::Arc, sync::Mutex, time::Duration};

use es_bus::{
    Attempt, Delivered, Envelope, FailureKind, FromDelivery, HandlerError, Invocation, Metadata, Need,
    Publisher, RawEvent, Registry, State, handler,
    testing::{Fate, TestBus},
};

use crate::support::{Gate, Journal, OrderPlaced, OrderShipped, placed, shipped, take_all};

#[derive(Clone)]
struct Prefix(&'static str);

#[handler(group = "everything", retries = 1, backoff(base = "1s", max = "1s", jitter = 0.0))]
async fn take_everything(
    State(journal): State<Journal>,
    attempt: Attempt,
    order: Envelope<OrderPlaced>,
    metadata: Metadata,
    delivered: Delivered,
    State(Prefix(prefix)): State<Prefix>,
) -> Result<(), String> {
    assert_eq!(order.metadata, metadata);
    journal.note(format!("{prefix} {} {} {}", order.order_id, order.event.total, metadata.event_id));
    journal.note(format!("{} {:?}", metadata.event_type, metadata.aggregate_id));
    journal.note(format!(
        "{} {} {} {}",
        delivered.queue, delivered.group, delivered.handler, delivered.exchange
    ));
    journal.note(format!("{} {} {}", delivered.routing_key, delivered.redelivered, delivered.replayed));
    journal.note(format!("{} of {}, last: {}", attempt.number, attempt.retries, attempt.is_last()));
    if attempt.is_last() { Ok(()) } else { Err("again".to_owned()) }
}

#[tokio::test(start_paused = true)]
async fn arguments_stand_in_any_order_and_say_the_same_on_a_retry() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<take_everything>();
    let bus = TestBus::start(|builder| {
        builder.registry(registry).state(journal.clone()).state(Prefix("the order"))
    })
    .await
    .unwrap();

    bus.publish(&placed("o-1")).id("e-1").await.unwrap();
    bus.run_to_the_end().await;

    let lines = journal.lines();
    let (first, second) = lines.split_at(5);
    assert_eq!(
        first,
        [
            "the order o-1 100 e-1",
            "OrderPlaced Some(\"o-1\")",
            "events.everything everything take_everything events",
            "Order.OrderPlaced false false",
            "0 of 1, last: false",
        ]
    );
    assert_eq!(second[..4], first[..4], "a retry changes nothing but the attempt");
    assert_eq!(second[4], "1 of 1, last: true");
    bus.stop().await.unwrap();
}

#[handler(group = "needy")]
async fn needs_a_prefix(_order: OrderPlaced, State(Prefix(_)): State<Prefix>) {}

#[tokio::test(start_paused = true)]
async fn state_that_nobody_provides_is_found_before_anything_starts() {
    let registry = Registry::new().handler::<needs_a_prefix>();

    let Err(error) = TestBus::start(|builder| builder.registry(registry)).await else {
        panic!("it started without its state")
    };

    let report = format!("{error:?}");
    assert!(report.contains("Prefix") && report.contains("needs_a_prefix"), "{report}");
}

#[handler(group = "chain", name = "ship")]
async fn ship(order: OrderPlaced, publisher: Publisher) -> Result<(), HandlerError> {
    publisher.publish(&shipped(&order.order_id)).await?;
    Ok(())
}

#[handler(group = "chain", name = "see")]
async fn see(_shipped: OrderShipped, metadata: Metadata, State(journal): State<Journal>) {
    journal.note(format!(
        "correlation {:?} causation {:?} tenant {:?} actor {:?}",
        metadata.correlation_id, metadata.causation_id, metadata.tenant_id, metadata.actor_id
    ));
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_publishes_carries_on_who_and_why() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<ship>().handler::<see>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&placed("o-1"))
        .id("e-1")
        .correlation_id("request-7")
        .tenant("acme")
        .actor("jane")
        .await
        .unwrap();
    bus.run_until_idle().await;

    assert_eq!(
        journal.lines(),
        [r#"correlation Some("request-7") causation Some("e-1") tenant Some("acme") actor Some("jane")"#]
    );
    bus.stop().await.unwrap();
}

#[handler(group = "raw", bind = "Order.#")]
async fn look_at_bytes(raw: RawEvent, State(journal): State<Journal>) -> Result<(), HandlerError> {
    let json: serde_json::Value = raw.json()?;
    journal.note(format!("{:?} {} {}", raw.event_type, raw.routing_key, json["order_id"]));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_raw_event_is_its_bytes() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<look_at_bytes>().event::<OrderPlaced>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), [r#"Some("OrderPlaced") Order.OrderPlaced "o-1""#]);
    bus.stop().await.unwrap();
}

/// A database that is none: it writes down what it is asked, and fails when it is told to.
#[derive(Clone, Default)]
struct Database(Arc<Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    log: Vec<&'static str>,
    committed: Vec<String>,
    failing_commits: u32,
    hanging_commits: u32,
    panicking_commits: u32,
}

impl Database {
    fn note(&self, line: &'static str) {
        self.0.lock().unwrap().log.push(line);
    }

    fn log(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().log.clone()
    }

    fn committed(&self) -> Vec<String> {
        self.0.lock().unwrap().committed.clone()
    }

    async fn commit(&self, rows: Vec<String>) -> Result<(), String> {
        let hangs = {
            let mut tables = self.0.lock().unwrap();
            if take(&mut tables.failing_commits) {
                tables.log.push("commit failed");
                return Err("the disk is full".to_owned());
            }
            if take(&mut tables.panicking_commits) {
                tables.log.push("commit panicked");
                drop(tables);
                panic!("the driver is torn");
            }
            take(&mut tables.hanging_commits)
        };
        if hangs {
            self.note("commit hung");
            std::future::pending::<()>().await;
        }
        let mut tables = self.0.lock().unwrap();
        tables.committed.extend(rows);
        tables.log.push("commit");
        Ok(())
    }
}

fn take(count: &mut u32) -> bool {
    let some = *count > 0;
    *count -= u32::from(some);
    some
}

/// A transaction for one run of a handler: committed when the run succeeds, else rolled back.
#[derive(Clone)]
struct Transaction {
    rows: Arc<Mutex<Vec<String>>>,
}

impl Transaction {
    async fn insert(&self, row: &str) {
        tokio::task::yield_now().await;
        self.rows.lock().unwrap().push(row.to_owned());
    }
}

impl FromDelivery for Transaction {
    fn needs(needs: &mut Vec<Need>) {
        <State<Database> as FromDelivery>::needs(needs);
    }

    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        let State(database) = State::<Database>::from_delivery(invocation).await?;
        tokio::task::yield_now().await;
        database.note("begin");
        let transaction = Self { rows: Arc::default() };
        let rows = Arc::clone(&transaction.rows);
        invocation.on_outcome(move |outcome| {
            Box::pin(async move {
                if outcome.is_done() {
                    let rows = std::mem::take(&mut *rows.lock().unwrap());
                    database.commit(rows).await?;
                } else {
                    database.note("rollback");
                }
                Ok(())
            })
        });
        Ok(transaction)
    }
}

/// An extractor that may not like an event.
struct Approved;

#[derive(Debug, thiserror::Error)]
#[error("not approved")]
struct NotApproved;

impl FromDelivery for Approved {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        let order = invocation.decode::<OrderPlaced>()?;
        match order.order_id.as_str() {
            "is rejected by an extractor" => Err(HandlerError::reject(NotApproved)),
            "is dropped by an extractor" => Err(HandlerError::drop_event(NotApproved)),
            "fails in an extractor" => Err(NotApproved.into()),
            "panics in an extractor" => panic!("no approval"),
            "hangs in an extractor" => std::future::pending().await,
            _ => Ok(Self),
        }
    }
}

#[handler(group = "ledger", name = "book")]
async fn book(
    transaction: Transaction,
    _approved: Approved,
    order: OrderPlaced,
    attempt: Attempt,
    State(journal): State<Journal>,
) -> Result<(), String> {
    journal.note(format!("{} {}", order.order_id, attempt.number));
    transaction.insert(&order.order_id).await;
    match order.order_id.as_str() {
        "fails" => Err("no".to_owned()),
        "panics" => panic!("boom"),
        "hangs" => std::future::pending().await,
        _ => Ok(()),
    }
}

async fn ledger(database: &Database, journal: &Journal, retries: &'static str) -> TestBus {
    let registry = Registry::new().handler::<book>();
    TestBus::start(|builder| {
        builder
            .registry(registry)
            .state(database.clone())
            .state(journal.clone())
            .set_for_group("ledger", "retries", retries)
            .set_for_group("ledger", "timeout", "5s")
    })
    .await
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_transaction_commits_when_the_handler_succeeds() {
    let (database, journal) = (Database::default(), Journal::default());
    let bus = ledger(&database, &journal, "0").await;

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(database.log(), ["begin", "commit"]);
    assert_eq!(database.committed(), ["o-1"]);
    assert_eq!(bus.counts().handled, 1);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_transaction_rolls_back_whatever_goes_wrong() {
    // The kind of failure that the dead letter names; none where the event is dropped.
    for (order_id, kind) in [
        ("fails", Some("handler_error")),
        ("panics", Some("panic")),
        ("hangs", Some("timeout")),
        ("fails in an extractor", Some("handler_error")),
        ("is rejected by an extractor", Some("handler_error")),
        ("panics in an extractor", Some("panic")),
        ("hangs in an extractor", Some("timeout")),
        ("is dropped by an extractor", None),
    ] {
        let (database, journal) = (Database::default(), Journal::default());
        let bus = ledger(&database, &journal, "0").await;

        bus.publish(&placed(order_id)).await.unwrap();
        bus.run_until_idle().await;

        assert_eq!(database.log(), ["begin", "rollback"], "{order_id}");
        assert!(database.committed().is_empty(), "{order_id}");
        let dead = take_all(&bus, "events.ledger.dlq").await;
        let kinds: Vec<_> = dead.iter().map(|dead| dead.message.headers.get_str("x-es-reason")).collect();
        assert_eq!(kinds, kind.map(Some).into_iter().collect::<Vec<_>>(), "{order_id}");
        assert_eq!(bus.counts().handled, 0, "{order_id}");
        bus.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_extractor_is_a_failed_attempt_with_its_own_verdict() {
    let (database, journal) = (Database::default(), Journal::default());
    let bus = ledger(&database, &journal, "2").await;

    bus.publish(&placed("is rejected by an extractor")).await.unwrap();
    bus.run_to_the_end().await;
    assert_eq!((bus.counts().retried, bus.counts().dead_lettered), (0, 1));
    bus.publish(&placed("is dropped by an extractor")).await.unwrap();
    bus.run_to_the_end().await;
    assert_eq!((bus.counts().retried, bus.counts().dropped), (0, 1));
    bus.publish(&placed("fails in an extractor")).await.unwrap();
    bus.run_to_the_end().await;

    assert_eq!((bus.counts().retried, bus.counts().dead_lettered), (2, 2));
    assert!(journal.lines().is_empty(), "the handler itself never ran");
    let dead = take_all(&bus, "events.ledger.dlq").await;
    assert_eq!(dead[1].message.headers.get_str("x-dlq-error-type"), Some("NotApproved"));
    assert_eq!(dead[1].message.headers.get_str("x-dlq-reason"), Some("not approved"));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_makes_the_run_fail_and_it_is_tried_again() {
    // What the commit does, and what the log then says.
    for (what, line) in [("fails", "commit failed"), ("hangs", "commit hung"), ("panics", "commit panicked")]
    {
        let (database, journal) = (Database::default(), Journal::default());
        match what {
            "fails" => database.0.lock().unwrap().failing_commits = 1,
            "hangs" => database.0.lock().unwrap().hanging_commits = 1,
            _ => database.0.lock().unwrap().panicking_commits = 1,
        }
        let bus = ledger(&database, &journal, "3").await;

        bus.publish(&placed("o-1")).await.unwrap();
        bus.run_to_the_end().await;

        assert_eq!(database.log(), ["begin", line, "begin", "commit"], "{what}");
        assert_eq!(database.committed(), ["o-1"], "{what}");
        assert_eq!(journal.lines(), ["o-1 0", "o-1 1"], "{what}");
        let fates = bus.fates("book");
        assert!(
            matches!(&fates[..], [Fate::Retried { kind: FailureKind::Completion, .. }, Fate::Handled]),
            "{what}: {fates:?}"
        );
        bus.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_never_works_ends_in_the_dead_letter_queue() {
    let (database, journal) = (Database::default(), Journal::default());
    database.0.lock().unwrap().failing_commits = 10;
    let bus = ledger(&database, &journal, "1").await;

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_to_the_end().await;

    let [dead] = &take_all(&bus, "events.ledger.dlq").await[..] else { panic!("one dead letter") };
    let headers = &dead.message.headers;
    assert_eq!(headers.get_str("x-es-reason"), Some("completion"));
    assert!(headers.get_str("x-dlq-reason").is_some_and(|text| text.contains("the disk is full")));
    assert!(database.committed().is_empty());
    bus.stop().await.unwrap();
}

/// Registers a completion that writes down its name and how things stood.
struct Witness<const NAME: char>;

impl<const NAME: char> FromDelivery for Witness<NAME> {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        let State(journal) = State::<Journal>::from_delivery(invocation).await?;
        invocation.on_outcome(move |outcome| {
            let done = outcome.is_done();
            Box::pin(async move {
                journal.note(format!("{NAME} {}", if done { "done" } else { "failed" }));
                if NAME == 'b' && done { Err("b cannot".into()) } else { Ok(()) }
            })
        });
        Ok(Self)
    }
}

#[handler(group = "witnesses")]
async fn with_witnesses(
    _a: Witness<'a'>,
    _b: Witness<'b'>,
    _c: Witness<'c'>,
    _order: OrderPlaced,
    State(journal): State<Journal>,
) {
    journal.note("handler");
}

#[tokio::test(start_paused = true)]
async fn completions_run_in_reverse_and_those_after_a_failed_one_see_the_failure() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<with_witnesses>();
    let bus = TestBus::start(|builder| {
        builder.registry(registry).state(journal.clone()).set_for_group("witnesses", "retries", "0")
    })
    .await
    .unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["handler", "c done", "b done", "a failed"]);
    assert_eq!((bus.counts().handled, bus.counts().dead_lettered), (0, 1));
    bus.stop().await.unwrap();
}

/// Settling waits for the completion.
struct Slow;

impl FromDelivery for Slow {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        let State(gate) = State::<Gate>::from_delivery(invocation).await?;
        invocation.on_outcome(move |_| {
            Box::pin(async move {
                gate.pass().await;
                Ok(())
            })
        });
        Ok(Self)
    }
}

#[handler(group = "slow")]
async fn slow_to_complete(_slow: Slow, _order: OrderPlaced) {}

#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_before_the_completions_are_through() {
    let gate = Gate::default();
    let registry = Registry::new().handler::<slow_to_complete>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(gate.clone())).await.unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    gate.entered(1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(bus.broker().pending().unsettled, 1);
    assert_eq!(bus.counts().handled, 0);
    gate.open(1);
    bus.run_until_idle().await;

    assert_eq!(bus.counts().handled, 1);
    bus.stop().await.unwrap();
}

/// Keeps a value for the extractors after it.
struct First;

impl FromDelivery for First {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        let before = invocation.extension::<String>();
        assert_eq!(before, None, "values are kept for one run only");
        invocation.extend(format!("{} in {}", invocation.handler(), invocation.delivery().group()));
        Ok(Self)
    }
}

struct Second(String);

impl FromDelivery for Second {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        invocation.extension().map(Self).ok_or_else(|| HandlerError::reject("the first was not there"))
    }
}

#[handler(group = "passing-on")]
async fn passes_on(_first: First, Second(kept): Second, _order: OrderPlaced, State(journal): State<Journal>) {
    journal.note(kept);
}

#[tokio::test(start_paused = true)]
async fn extractors_hand_values_on_within_a_run() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<passes_on>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.publish(&placed("o-2")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["passes_on in passing-on"; 2]);
    bus.stop().await.unwrap();
}
