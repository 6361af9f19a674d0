//! Nothing that a handler, a body or a header does stops a worker.

use std::{panic::panic_any, sync::Arc, time::Duration};

use bytes::Bytes;
use es_bus::{
    Attempt, Call, FailureKind, FromDelivery, HandlerError, Input, Invocation, Registry, State,
    abandoned_threads, handler,
    message::{Headers, Message, Received, Value},
    registry::{Emitted, GroupRef, Handler, HandlerDef, Location},
    testing::{Fate, TestBus},
};
use tokio::sync::Notify;

use crate::support::{
    InvoiceSent, Journal, OrderPlaced, at_rest, claiming_placed, eventually, foreign, placed, placed_body,
    publish_raw, ready_in, take_all,
};

/// Set by a test to say when a thread that blocks may go on.
#[derive(Clone, Default)]
struct Thread {
    entered: Arc<Notify>,
    release: Arc<(std::sync::Mutex<bool>, std::sync::Condvar)>,
}

impl Thread {
    fn block(&self) {
        self.entered.notify_one();
        let (released, changed) = &*self.release;
        drop(changed.wait_while(released.lock().unwrap(), |released| !*released).unwrap());
    }

    fn release(&self) {
        let (released, changed) = &*self.release;
        *released.lock().unwrap() = true;
        changed.notify_all();
    }
}

#[handler(group = "wild")]
async fn go_wild(order: OrderPlaced, State(journal): State<Journal>) -> Result<(), String> {
    journal.note(&*order.order_id);
    match order.order_id.as_str() {
        "panics with a str" => panic!("boom"),
        "panics with a String" => panic!("boom {}", 7),
        "panics with a number" => panic_any(7),
        "hangs" => std::future::pending().await,
        "is slow" => {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            Ok(())
        }
        "fails" => Err("no".to_owned()),
        _ => Ok(()),
    }
}

/// A bus whose only handler runs wild, once per event, for two seconds at most.
async fn wild_bus(journal: &Journal) -> TestBus {
    let registry = Registry::new().handler::<go_wild>();
    TestBus::start(|builder| {
        builder
            .registry(registry)
            .state(journal.clone())
            .set_for_group("wild", "retries", "0")
            .set_for_group("wild", "timeout", "2s")
    })
    .await
    .unwrap()
}

/// What was quick many times is begun by the loop that takes the deliveries.
#[tokio::test(start_paused = true)]
async fn a_handler_that_was_quick_many_times_may_still_panic_hang_and_fail() {
    let journal = Journal::default();
    let bus = wild_bus(&journal).await;
    let good: Vec<_> = (0..200).map(|number| placed(&format!("good {number}"))).collect();

    for order_id in ["panics with a str", "hangs", "is slow", "fails"] {
        let report = bus.publisher().publish_all(&good).await;
        assert!(report.is_complete(), "{report}");
        bus.run_until_idle().await;
        bus.publish(&placed(order_id)).await.unwrap();
        bus.run_until_idle().await;
    }

    let failures = bus.fates("go_wild").into_iter().filter_map(|fate| match fate {
        Fate::DeadLettered { kind, .. } => kind,
        _ => None,
    });
    let kinds: Vec<_> = failures.collect();
    assert_eq!(kinds, [FailureKind::Panic, FailureKind::Timeout, FailureKind::Error]);
    assert_eq!(bus.counts().handled, 4 * 200 + 1, "all that is good, and what is slow");
    assert_eq!(ready_in(&bus, "events.wild").await, 0);
}

#[tokio::test(start_paused = true)]
async fn panics_and_hangs_are_failures_and_the_next_event_is_handled() {
    // What the handler does, the kind of failure, its type and its text in the dead letter.
    for (order_id, kind, error_type, reason) in [
        ("panics with a str", FailureKind::Panic, "Panic", "boom"),
        ("panics with a String", FailureKind::Panic, "Panic", "boom 7"),
        ("panics with a number", FailureKind::Panic, "Panic", "panicked"),
        ("hangs", FailureKind::Timeout, "Timeout", "2s"),
        ("fails", FailureKind::Error, "String", "no"),
    ] {
        let journal = Journal::default();
        let bus = wild_bus(&journal).await;

        bus.publish(&placed(order_id)).await.unwrap();
        bus.run_until_idle().await;
        bus.publish(&placed("is good")).await.unwrap();
        bus.run_until_idle().await;

        assert_eq!(journal.lines(), [order_id, "is good"]);
        let fates = bus.fates("go_wild");
        assert!(
            matches!(&fates[..], [Fate::DeadLettered { kind: Some(found), .. }, Fate::Handled] if *found == kind),
            "{order_id}: {fates:?}"
        );
        let [dead] = &take_all(&bus, "events.wild.dlq").await[..] else {
            panic!("{order_id}: one dead letter")
        };
        let headers = &dead.message.headers;
        assert_eq!(headers.get_str("x-es-reason"), Some(kind.as_str()), "{order_id}");
        assert_eq!(headers.get_str("x-dlq-error-type"), Some(error_type), "{order_id}");
        let text = headers.get_str("x-dlq-reason").unwrap_or_default();
        assert!(text.contains(reason), "{order_id}: {text}");
        assert_eq!(headers.get_int("x-dlq-retry-count"), Some(0));
        bus.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_use_all_of_its_time_and_no_more() {
    let journal = Journal::default();
    let bus = wild_bus(&journal).await;
    let started = tokio::time::Instant::now();

    bus.publish(&placed("is slow")).await.unwrap();
    bus.run_until_idle().await;
    assert_eq!(started.elapsed().as_millis() / 100, 15);
    bus.publish(&placed("hangs")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(started.elapsed().as_millis() / 100, 35);
    assert_eq!((bus.counts().handled, bus.counts().failed), (1, 1));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hanging_event_holds_up_nothing_but_its_lane() {
    let journal = Journal::default();
    let bus = wild_bus(&journal).await;

    bus.publish(&placed("hangs")).await.unwrap();
    bus.publish(&placed("o-1")).await.unwrap();
    bus.publish(&placed("o-2")).await.unwrap();
    at_rest().await;

    assert_eq!(bus.counts().handled, 2, "{:?}", journal.lines());
    bus.run_until_idle().await;
    bus.stop().await.unwrap();
}

#[handler(group = "shaky-panics", backoff(base = "1s", max = "1s", jitter = 0.0))]
async fn panics_once(_order: OrderPlaced, attempt: Attempt, State(journal): State<Journal>) {
    journal.note(format!("attempt {}", attempt.number));
    assert!(attempt.number > 0, "the first attempt panics");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_retried_like_any_failure() {
    let journal = Journal::default();
    let registry = Registry::new().handler::<panics_once>();
    let bus = TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_to_the_end().await;

    assert_eq!(journal.lines(), ["attempt 0", "attempt 1"]);
    assert_eq!((bus.counts().retried, bus.counts().dead_lettered), (1, 0));
    bus.stop().await.unwrap();
}

#[handler(group = "threads")]
fn on_a_thread(
    OrderPlaced { order_id, .. }: OrderPlaced,
    State(thread): State<Thread>,
    State(journal): State<Journal>,
) -> Result<(), String> {
    journal.note(&*order_id);
    match order_id.as_str() {
        "blocks" => thread.block(),
        "panics" => panic!("boom"),
        "fails" => return Err("no".to_owned()),
        _ => {}
    }
    Ok(())
}

async fn threaded_bus(journal: &Journal, thread: &Thread) -> TestBus {
    let registry = Registry::new().handler::<on_a_thread>();
    TestBus::start(|builder| {
        builder
            .registry(registry)
            .state(journal.clone())
            .state(thread.clone())
            .set_for_group("threads", "retries", "0")
            .set_for_group("threads", "timeout", "2s")
    })
    .await
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_plain_function_that_blocks_times_out_and_the_worker_goes_on() {
    let (journal, thread) = (Journal::default(), Thread::default());
    let bus = threaded_bus(&journal, &thread).await;

    bus.publish(&placed("blocks")).await.unwrap();
    // The paused clock does not go by itself while a thread works.
    thread.entered.notified().await;
    tokio::time::advance(Duration::from_secs(3)).await;
    while bus.counts().failed == 0 {
        tokio::task::yield_now().await;
    }
    bus.publish(&placed("is good")).await.unwrap();
    while bus.counts().handled == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(abandoned_threads(), 1, "the thread cannot be stopped, and is counted");
    thread.release();
    while abandoned_threads() > 0 {
        tokio::task::yield_now().await;
    }

    let fates = bus.fates("on_a_thread");
    assert!(
        matches!(&fates[..], [Fate::DeadLettered { kind: Some(FailureKind::Timeout), .. }, Fate::Handled]),
        "{fates:?}"
    );
    assert_eq!(journal.lines(), ["blocks", "is good"]);
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_plain_function_fails_and_panics_like_any_handler() {
    let (journal, thread) = (Journal::default(), Thread::default());
    let bus = threaded_bus(&journal, &thread).await;

    for order_id in ["panics", "fails", "is good"] {
        bus.publish(&placed(order_id)).await.unwrap();
        bus.run_until_idle().await;
    }

    let fates = bus.fates("on_a_thread");
    assert!(
        matches!(
            &fates[..],
            [
                Fate::DeadLettered { kind: Some(FailureKind::Panic), .. },
                Fate::DeadLettered { kind: Some(FailureKind::Error), .. },
                Fate::Handled,
            ]
        ),
        "{fates:?}"
    );
    bus.stop().await.unwrap();
}

/// A handler with an aggregate of its own, to see whether the worker lives.
#[handler(group = "wild")]
async fn sign_of_life(_sent: InvoiceSent) {}

/// A bus with the default policy: what is retried would show.
async fn plain_bus(journal: &Journal) -> TestBus {
    let registry = Registry::new().handler::<go_wild>().handler::<sign_of_life>();
    TestBus::start(|builder| builder.registry(registry).state(journal.clone())).await.unwrap()
}

async fn still_works(bus: &TestBus) {
    let before = bus.fates("sign_of_life").len();
    bus.publish(&InvoiceSent { number: 1 }).await.unwrap();
    bus.run_until_idle().await;
    assert_eq!(bus.fates("sign_of_life").len(), before + 1, "the worker has stopped");
}

fn odd_bodies() -> Vec<(&'static str, Message)> {
    let with = |change: &dyn Fn(&mut Message)| {
        let mut message = claiming_placed(placed_body("o-1"));
        change(&mut message);
        message
    };
    vec![
        ("empty", claiming_placed("")),
        ("no UTF-8", claiming_placed(&b"\xff"[..])),
        ("null", claiming_placed("null")),
        ("an array", claiming_placed("[]")),
        ("a string", claiming_placed("\"OrderPlaced\"")),
        ("an empty object", claiming_placed("{}")),
        ("a wrong type", claiming_placed(r#"{"order_id":"o-1","total":"many"}"#)),
        ("cut off", claiming_placed(r#"{"order_id":"o-1","tot"#)),
        ("two values", claiming_placed(format!("{0}{0}", placed_body("o-1")))),
        ("text after it", claiming_placed(format!("{} and more", placed_body("o-1")))),
        ("deeply nested", claiming_placed(format!(r#"{{"order_id":{}"#, "[".repeat(100_000)))),
        ("deeply nested elsewhere", claiming_placed(format!(r#"{{"more":{}"#, "[".repeat(100_000)))),
        ("1 MiB of noise", claiming_placed(vec![0x9d_u8; 1024 * 1024])),
        ("another content type", with(&|it| it.properties.content_type = Some("application/xml".into()))),
        (
            "another content encoding",
            with(&|it| {
                it.properties.content_encoding = Some("gzip".into());
                it.body = Bytes::from_static(b"\x1f\x8b\x08\x00\x00\x00");
            }),
        ),
        ("a version that is none", claiming_placed(r#"{"order_id":"o-1","total":1,"aggregate_version":0}"#)),
        ("a time that is none", claiming_placed(r#"{"order_id":"o-1","total":1,"occurred_at":"yesterday"}"#)),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_read_is_dead_lettered_at_once_with_its_bytes() {
    for (what, message) in odd_bodies() {
        let journal = Journal::default();
        let bus = plain_bus(&journal).await;

        publish_raw(&bus, "Order.OrderPlaced", message.clone()).await;
        bus.run_until_idle().await;

        assert!(journal.lines().is_empty(), "{what}");
        let dead = take_all(&bus, "events.wild.dlq").await;
        let [dead] = &dead[..] else { panic!("{what}: {} dead letters", dead.len()) };
        assert!(dead.message.body == message.body, "{what}: the bytes differ");
        assert_eq!(dead.message.properties.content_type, message.properties.content_type, "{what}");
        assert_eq!(dead.message.properties.content_encoding, message.properties.content_encoding, "{what}");
        let headers = &dead.message.headers;
        assert_eq!(headers.get_str("x-es-reason"), Some("undecodable"), "{what}");
        assert_eq!(headers.get_int("x-dlq-retry-count"), Some(0), "{what}");
        assert_eq!(headers.get_str("x-original-routing-key"), Some("Order.OrderPlaced"), "{what}");
        assert!(headers.get_str("x-dlq-reason").is_some_and(|text| !text.is_empty()), "{what}");
        assert_eq!((bus.counts().retried, bus.counts().dead_lettered), (0, 1), "{what}");
        still_works(&bus).await;
        bus.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_event_is_handled_like_any_other() {
    let journal = Journal::default();
    let bus = plain_bus(&journal).await;

    let order_id = "o".repeat(1024 * 1024);
    bus.publish(&placed(&order_id)).aggregate_id("o-1").await.unwrap();
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), [order_id]);
    bus.stop().await.unwrap();
}

fn table(entries: &[(&str, Value)]) -> Value {
    let headers: Headers = entries.iter().map(|(name, value)| (String::from(*name), value.clone())).collect();
    headers.into()
}

fn not_utf8() -> Value {
    Value::Str(Bytes::from_static(b"\xff\xfe"))
}

fn odd_values() -> Vec<Value> {
    vec![
        Value::from("many"),
        Value::from(""),
        Value::from("99999999999999999999999"),
        Value::I8(-1),
        Value::I64(i64::MIN),
        Value::I64(i64::MAX),
        Value::U32(u32::MAX),
        Value::F64(1.5),
        Value::F64(f64::NAN),
        Value::F32(f32::INFINITY),
        Value::Bool(true),
        Value::Void,
        Value::Timestamp(u64::MAX),
        Value::Decimal(3, 1234),
        Value::Array(vec![Value::Void, Value::from("x")]),
        table(&[]),
        table(&[("nested", table(&[("deeper", Value::Void)]))]),
        not_utf8(),
        Value::Bytes(Bytes::from_static(b"\x00\xff")),
    ]
}

#[tokio::test(start_paused = true)]
async fn odd_values_in_headers_do_not_keep_an_event_from_its_handler() {
    let names = [
        "x-retry-count",
        "x-last-retry-at",
        "x-es-attempts",
        "x-es-waits",
        "x-es-queue",
        "x-es-replayed",
        "x-es-first-failure-at",
        "x-es-original-exchange",
        "x-death",
        "x-delivery-count",
        "x-first-death-queue",
        "aggregate_id",
        "aggregate_version",
        "correlation_id",
        "tenant_id",
        "causation_id",
        "es-delay",
        "anything",
    ];
    let journal = Journal::default();
    let bus = plain_bus(&journal).await;
    let mut sent = 0;

    for name in names {
        for value in odd_values() {
            let mut message = claiming_placed(placed_body("o-1"));
            message.headers.insert(name, value.clone());
            publish_raw(&bus, "Order.OrderPlaced", message).await;
            bus.run_until_idle().await;
            sent += 1;
            assert_eq!(journal.lines().len(), sent, "{name}: {value:?}: {:?}", bus.outcomes().last());
        }
    }

    assert_eq!(ready_in(&bus, "events.wild.dlq").await, 0);
    still_works(&bus).await;
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_list_of_nonsense_for_this_very_queue_loses_nothing() {
    let queue = || ("queue", Value::from("events.wild"));
    let lists = vec![
        table(&[queue()]),
        table(&[queue(), ("handlers", table(&[]))]),
        table(&[queue(), ("handlers", Value::from("go_wild"))]),
        table(&[queue(), ("handlers", Value::Array(vec![Value::from("go_wild")]))]),
        table(&[queue(), ("handlers", table(&[("go_wild", Value::from("often"))]))]),
        table(&[queue(), ("handlers", table(&[("go_wild", Value::I64(-3))]))]),
        table(&[queue(), ("handlers", table(&[("go_wild", Value::I64(i64::MAX))]))]),
        table(&[queue(), ("handlers", table(&[("go_wild", Value::F64(2.5))]))]),
        table(&[queue(), ("handlers", table(&[("", Value::I8(1))]))]),
        table(&[queue(), ("handlers", table(&[("sign_of_life", Value::I8(1))]))]),
        table(&[
            queue(),
            ("handlers", table(&[("go_wild", Value::I8(1))])),
            ("due", Value::from("tomorrow")),
        ]),
        table(&[
            queue(),
            ("handlers", table(&[("go_wild", Value::I8(1))])),
            ("due", table(&[("go_wild", Value::I64(i64::MIN))])),
        ]),
        table(&[("queue", not_utf8()), ("handlers", table(&[("go_wild", Value::I8(1))]))]),
    ];
    for list in lists {
        let journal = Journal::default();
        let bus = plain_bus(&journal).await;

        let mut message = claiming_placed(placed_body("o-1"));
        message.headers.insert("x-es-attempts", list.clone());
        message.headers.insert("x-es-queue", "events.wild");
        publish_raw(&bus, "Order.OrderPlaced", message).await;
        bus.run_to_the_end().await;

        let kept = journal.lines().len() as u64 + ready_in(&bus, "events.wild.dlq").await;
        assert_eq!(kept, 1, "handled or dead-lettered, once: {list:?}: {:?}", bus.outcomes());
        still_works(&bus).await;
        bus.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_due_time_in_the_far_future_does_not_hold_an_event_for_ever() {
    let journal = Journal::default();
    let bus = plain_bus(&journal).await;

    let mut message = claiming_placed(placed_body("o-1"));
    let list = table(&[
        ("queue", Value::from("events.wild")),
        ("handlers", table(&[("go_wild", Value::I8(1))])),
        ("due", table(&[("go_wild", Value::I64(i64::MAX))])),
    ]);
    message.headers.insert("x-es-attempts", list);
    publish_raw(&bus, "Order.OrderPlaced", message).await;
    bus.run_until_idle().await;

    still_works(&bus).await;
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_type_that_is_no_text_is_as_good_as_none() {
    let journal = Journal::default();
    let bus = plain_bus(&journal).await;

    for value in [not_utf8(), Value::Void, Value::Bool(true), table(&[])] {
        let mut message = foreign(placed_body("o-1"));
        message.headers.insert("event_type", value);
        publish_raw(&bus, "Order.OrderPlaced", message).await;
    }
    bus.run_until_idle().await;

    assert_eq!(journal.lines(), ["o-1"; 4], "told by the key: {:?}", bus.outcomes());
    bus.stop().await.unwrap();
}

/// The copies that a failing event leaves: in the retry queue, then in the dead-letter queue.
async fn copies_of(message: &Message) -> (TestBus, Received, Received) {
    let journal = Journal::default();
    let registry = Registry::new().handler::<go_wild>().handler::<sign_of_life>();
    let bus = TestBus::start(|builder| {
        builder.registry(registry).state(journal).set_for_group("wild", "retries", "1")
    })
    .await
    .unwrap();
    publish_raw(&bus, "Order.OrderPlaced", message.clone()).await;
    bus.run_until_idle().await;
    let [waiting] = &take_all(&bus, "events.wild.retry.1s").await[..] else { panic!("one copy waits") };
    let waiting = waiting.clone();
    publish_raw(&bus, "Order.OrderPlaced", message.clone()).await;
    bus.run_to_the_end().await;
    let [dead] = &take_all(&bus, "events.wild.dlq").await[..] else { panic!("one dead letter") };
    let dead = dead.clone();
    (bus, waiting, dead)
}

#[tokio::test(start_paused = true)]
async fn copies_carry_nothing_that_would_break_or_misroute_them() {
    let mut message = claiming_placed(placed_body("fails"));
    message.properties.user_id = Some("somebody".into());
    message.properties.expiration = Some("3600000".into());
    message.properties.priority = Some(4);
    message.properties.app_id = Some("shop".into());
    message.properties.timestamp = Some(1_767_323_045);
    message.properties.message_id = Some("m-1".into());
    message.properties.reply_to = Some("answers".into());
    message.properties.correlation_id = Some("c-1".into());
    message.headers.insert("CC", Value::Array(vec![Value::from("Invoice.InvoiceSent")]));
    message.headers.insert("region", "eu");

    let (bus, waiting, dead) = copies_of(&message).await;

    for (what, copy) in [("waiting", &waiting.message), ("dead", &dead.message)] {
        assert_eq!(copy.body, message.body, "{what}");
        assert_eq!(copy.properties.user_id, None, "{what}: a broker refuses it");
        assert_eq!(copy.headers.get_str("x-es-orig-user_id"), Some("somebody"), "{what}: {:?}", copy.headers);
        assert!(copy.headers.get("CC").is_none(), "{what}: it would be routed by it");
        assert_eq!(copy.headers.get("x-es-orig-CC"), message.headers.get("CC"), "{what}");
        assert_eq!(copy.headers.get_str("region"), Some("eu"), "{what}");
        assert_eq!(copy.properties.priority, Some(4), "{what}");
        assert_eq!(copy.properties.app_id.as_deref(), Some("shop"), "{what}");
        assert_eq!(copy.properties.timestamp, Some(1_767_323_045), "{what}");
        assert_eq!(copy.properties.message_id.as_deref(), Some("m-1"), "{what}");
        assert_eq!(copy.properties.reply_to.as_deref(), Some("answers"), "{what}");
        assert_eq!(copy.properties.correlation_id.as_deref(), Some("c-1"), "{what}");
        assert!(copy.properties.persistent, "{what}");
    }
    assert_eq!(dead.message.properties.expiration, None, "a dead letter does not expire");
    assert_ne!(waiting.message.properties.expiration.as_deref(), Some("3600000"));
    assert_eq!(waiting.routing_key, "Order.OrderPlaced", "the key is kept");
    still_works(&bus).await;
    // Both messages went to the invoices by their CC, as their publisher asked; their copies did not.
    assert_eq!(bus.fates("sign_of_life").len(), 1);
    bus.stop().await.unwrap();
}

/// What AMQP may carry of properties and headers in a frame of 128 KiB.
const FRAME: usize = 128 * 1024;

#[tokio::test(start_paused = true)]
async fn an_event_with_headers_that_fill_a_frame_still_reaches_retry_and_dead_letters() {
    for size in [100_000, 120_000, 130_400] {
        let mut message = claiming_placed(placed_body("fails"));
        message.headers.insert("hostile", "h".repeat(size));

        let (bus, waiting, dead) = copies_of(&message).await;

        for (what, copy) in [("waiting", &waiting.message), ("dead", &dead.message)] {
            let length = copy.headers.wire_len();
            assert!(length < FRAME - 1024, "{size} {what}: {length} bytes of headers close the connection");
            assert_eq!(copy.body, message.body, "{size} {what}");
        }
        assert!(waiting.message.headers.get("x-es-attempts").is_some(), "{size}: else all would run");
        let dropped = waiting.message.headers.get_str("x-es-dropped-headers");
        assert_eq!(dropped, (size > 127_000).then_some("hostile"), "{size}");
        assert_eq!(dead.message.headers.get_str("x-original-routing-key"), Some("Order.OrderPlaced"));
        assert!(dead.message.headers.get_str("x-dlq-reason").is_some(), "{size}");
        still_works(&bus).await;
        bus.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_with_thousands_of_headers_still_reaches_retry_and_dead_letters() {
    let mut message = claiming_placed(placed_body("fails"));
    for n in 0..4_450 {
        message.headers.insert(format!("header-{n:06}"), "0123456789");
    }

    let (bus, waiting, dead) = copies_of(&message).await;

    for copy in [&waiting.message, &dead.message] {
        assert!(copy.headers.wire_len() < FRAME - 1024, "{}", copy.headers.wire_len());
    }
    still_works(&bus).await;
    bus.stop().await.unwrap();
}

#[handler(group = "talkative", retries = 1, backoff(base = "1s", max = "1s", jitter = 0.0))]
async fn says_too_much(_order: OrderPlaced) -> Result<(), String> {
    Err("ü".repeat(512 * 1024))
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_megabyte_is_cut() {
    let registry = Registry::new().handler::<says_too_much>();
    let bus = TestBus::start(|builder| builder.registry(registry)).await.unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_to_the_end().await;

    let [dead] = &take_all(&bus, "events.talkative.dlq").await[..] else { panic!("one dead letter") };
    let reason = dead.message.headers.get_str("x-dlq-reason").expect("cut on a character boundary");
    assert!((1_000..=4_096).contains(&reason.len()), "{} bytes", reason.len());
    assert!(dead.message.headers.wire_len() < 16 * 1024);
    bus.stop().await.unwrap();
}

/// Panics wherever a type of one's own gets a chance to.
#[derive(Debug)]
struct Nasty(&'static str);

impl std::fmt::Display for Nasty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            "display panics" => panic!("no text for you"),
            "display fails" => Err(std::fmt::Error),
            _ => f.write_str("nasty"),
        }
    }
}

impl std::error::Error for Nasty {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.0 {
            "is its own source" => Some(self),
            "source panics" => panic!("no source for you"),
            _ => None,
        }
    }
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "dropped");
    }
}

/// Registers a completion that panics before it gives a future.
struct TornCompletion;

impl FromDelivery for TornCompletion {
    async fn from_delivery(invocation: &Invocation) -> Result<Self, HandlerError> {
        if invocation.decode::<OrderPlaced>()?.order_id == "completion panics" {
            invocation.on_outcome(|_| panic!("torn"));
        }
        Ok(Self)
    }
}

#[handler(group = "nasty", retries = 0, timeout = "2s")]
async fn nasty(order: OrderPlaced, _torn: TornCompletion) -> Result<(), HandlerError> {
    match order.order_id.as_str() {
        "display panics" => Err(Nasty("display panics").into()),
        "display fails" => Err(Nasty("display fails").into()),
        "is its own source" => Err(Nasty("is its own source").into()),
        "source panics" => Err(Nasty("source panics").into()),
        "panics when dropped" => {
            let _held = PanicsWhenDropped;
            std::future::pending().await
        }
        "payload panics when dropped" => panic_any(PanicsWhenDropped),
        _ => Ok(()),
    }
}

#[tokio::test(start_paused = true)]
async fn errors_and_values_of_ones_own_cannot_hurt_a_worker_either() {
    for order_id in [
        "completion panics",
        "display panics",
        "display fails",
        "is its own source",
        "source panics",
        "panics when dropped",
        "payload panics when dropped",
    ] {
        let registry = Registry::new().handler::<nasty>();
        let bus = TestBus::start(|builder| builder.registry(registry)).await.unwrap();

        bus.publish(&placed(order_id)).await.unwrap();
        eventually(order_id, || bus.counts().dead_lettered == 1).await;
        bus.publish(&placed("is good")).aggregate_id(order_id).await.unwrap();
        eventually("its lane is free", || bus.counts().handled == 1).await;

        let [dead] = &take_all(&bus, "events.nasty.dlq").await[..] else {
            panic!("{order_id}: one dead letter")
        };
        assert!(dead.message.headers.get_str("x-dlq-reason").is_some(), "{order_id}");
        bus.run_until_idle().await;
        bus.stop().await.unwrap();
    }
}

/// A handler as no macro writes it: it forgets to say what became of its event.
struct Forgetful;

impl Handler for Forgetful {
    const DEF: &'static HandlerDef = &HandlerDef {
        layer: None,
        bus: "default",
        group: GroupRef { name: "forgetful", def: None },
        name: "forgetful",
        formerly: &[],
        binds: &[es_bus::registry::Bind::Key("Order.OrderPlaced")],
        has_bind: true,
        foreign: true,
        inputs: &[Input::Raw],
        needs: |_| {},
        emits: Emitted::By(|_| {}),
        settings: &[("retries", "0")],
        call: Call::Batch(|_events| Box::pin(async { Vec::new() })),
        location: Location { module: module_path!(), file: file!(), line: line!() },
    };
}

#[tokio::test(start_paused = true)]
async fn an_event_of_which_its_handler_says_nothing_is_not_taken_for_handled() {
    let registry = Registry::new().handler::<Forgetful>();
    let bus = TestBus::start(|builder| builder.registry(registry)).await.unwrap();

    bus.publish(&placed("o-1")).await.unwrap();
    bus.run_until_idle().await;

    assert_eq!((bus.counts().handled, bus.counts().dead_lettered), (0, 1));
    bus.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_failures_at_once_leave_nothing_behind() {
    let journal = Journal::default();
    let bus = wild_bus(&journal).await;

    for n in 0..200 {
        let order_id = match n % 4 {
            0 => "panics with a str",
            1 => "hangs",
            2 => "fails",
            _ => "is good",
        };
        bus.publish(&placed(order_id)).aggregate_id(format!("o-{n}")).await.unwrap();
    }
    bus.run_until_idle().await;

    assert_eq!(journal.lines().len(), 200);
    assert_eq!((bus.counts().handled, bus.counts().dead_lettered), (50, 150));
    assert_eq!(ready_in(&bus, "events.wild.dlq").await, 150);
    eventually("nothing is in hand", || bus.broker().pending().is_idle()).await;
    bus.stop().await.unwrap();
}
