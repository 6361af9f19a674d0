//! Retry, wait, dead-letter and replay copies, one after another as an event's life has them.

use bytes::Bytes;
use time::{Duration, OffsetDateTime, macros::datetime};

use crate::{
    message::{Headers, Message, Received, Value},
    wire::{
        DeadLetterAuthor, FailureInfo, HandlerAttempt, Source, attempts, carried, check_sizes, crashes,
        drop_foreign, fit, header_frame_len, names, origin, provenance,
        testing::{PUBLISHED, captured, received},
        waits,
    },
};

const QUEUE: &str = "events.projections";
const NOW: OffsetDateTime = datetime!(2026-11-21 08:44:55.895695 UTC);
const FRAME_MAX: usize = 131_072;

fn handler(name: &str, attempt: u32) -> HandlerAttempt {
    HandlerAttempt { handler: name.to_owned(), attempt, due_ms: None }
}

fn failure() -> FailureInfo<'static> {
    FailureInfo { reason: "handler_error", error_type: "Refused", text: "the ledger is closed".into() }
}

/// What comes back when a copy has waited in its retry queue.
fn redelivered(copy: Message) -> Received {
    let mut received = received(copy);
    received.exchange = format!("{QUEUE}.in");
    // The broker takes it off when it dead-letters, and tells the story in its own headers.
    received.message.properties.expiration = None;
    let mut death = Headers::new();
    death.insert("queue", format!("{QUEUE}.retry.1s"));
    received.message.headers.insert("x-death", vec![Value::Table(death)]);
    received.message.headers.insert("x-first-death-reason", "expired");
    received.message.headers.insert("x-delivery-count", 1_i64);
    received
}

fn retry(received: &Received, handlers: &[HandlerAttempt], now: OffsetDateTime) -> Message {
    let origin = origin(received, QUEUE);
    Source { received, origin: &origin, queue: QUEUE, now }.retry(handlers, "1s", 1000, &failure(), "p")
}

fn dead_letter(received: &Received, failure: &FailureInfo<'_>) -> Message {
    let origin = origin(received, QUEUE);
    Source { received, origin: &origin, queue: QUEUE, now: NOW }.dead_letter(
        Some("project"),
        3,
        failure,
        "dlq-1",
        "p",
    )
}

fn replay(dead: Message) -> Received {
    let dead = received(dead);
    let origin = origin(&dead, QUEUE);
    let copy = Source { received: &dead, origin: &origin, queue: QUEUE, now: NOW }.replay(&["project"], "p");
    let mut received = received(copy);
    received.exchange = format!("{QUEUE}.in");
    received
}

/// To another queue and back, through fanout exchanges of the migration.
fn migrated(received: &Received) -> Received {
    let moved = |from: &Received, by: &str| {
        let origin = origin(from, QUEUE);
        let message = Source { received: from, origin: &origin, queue: QUEUE, now: NOW }.moved("p");
        Received { message, exchange: by.to_owned(), ..from.clone() }
    };
    moved(&moved(received, "events.projections.migrating.old"), "events.projections.migrating.back")
}

#[test]
fn a_message_whose_queue_is_migrated_is_to_its_handlers_what_it_was() {
    let mut first = received(captured(PUBLISHED));
    first.message.properties.expiration = Some("60000".into());
    first.message.headers.insert("traceparent", "00-1-2-01");
    let back = redelivered(retry(&first, &[handler("project", 2)], NOW));
    let unknown = {
        let origin = origin(&first, QUEUE);
        let source = Source { received: &first, origin: &origin, queue: QUEUE, now: NOW };
        redelivered(source.wait(&[], 3, "30s", 30_000, "unknown_event", "p"))
    };
    let suspect = {
        let origin = origin(&back, QUEUE);
        let source = Source { received: &back, origin: &origin, queue: QUEUE, now: NOW };
        received(source.suspect(2, "p"))
    };
    for before in [first, back, unknown, suspect] {
        let after = migrated(&before);

        assert_eq!(origin(&after, QUEUE), origin(&before, QUEUE));
        assert_eq!(attempts(&after, QUEUE), attempts(&before, QUEUE));
        assert_eq!(waits(&after, QUEUE), waits(&before, QUEUE));
        assert_eq!(crashes(&after, QUEUE), crashes(&before, QUEUE));
        assert_eq!(after.message.properties, before.message.properties);
        assert_eq!(after.message.body, before.message.body);
        assert_eq!(after.message.headers.get_str("traceparent"), Some("00-1-2-01"));
        assert_eq!(
            after.message.headers.get("x-es-orig-expiration"),
            before.message.headers.get("x-es-orig-expiration")
        );
    }
}

#[test]
fn a_migration_makes_nobody_obey_what_another_queue_wrote() {
    let origin_of = received(captured(PUBLISHED));
    let other = origin(&origin_of, "events.audit");
    let source = Source { received: &origin_of, origin: &other, queue: "events.audit", now: NOW };
    // As eventsource-py sends it on, with all headers.
    let copied = received(source.wait(&[], 3, "30s", 30_000, "unknown_event", "p"));

    let after = migrated(&copied);

    assert_eq!((waits(&copied, QUEUE), waits(&after, QUEUE)), (0, 0));
    assert_eq!(origin(&after, QUEUE), origin(&copied, QUEUE));
}

#[test]
fn a_dead_letter_whose_queue_is_migrated_stays_as_it_is() {
    let mut dead = dead_letter(&received(captured(PUBLISHED)), &failure());
    dead.properties.user_id = Some("python".into());
    dead.headers.insert("x-delivery-count", 4_i64);

    let after = carried(&dead, "q");

    let mut expected = dead.clone();
    expected.properties.user_id = None;
    expected.headers.remove("x-delivery-count");
    expected.headers.insert("x-es-orig-user_id", "python");
    expected.headers.insert("x-es-publish-id", "q");
    assert_eq!(after, expected);
    assert_eq!(
        provenance(&received(after), "events.projections.dlq"),
        provenance(&received(dead), "events.projections.dlq")
    );
}

#[test]
fn a_retry_copy_is_the_message_with_directions() {
    let mut first = received(captured(PUBLISHED));
    let properties = &mut first.message.properties;
    properties.reply_to = Some("replies".into());
    properties.priority = Some(5);
    first.message.headers.insert("traceparent", "00-1-2-01");
    let handlers =
        [HandlerAttempt { due_ms: Some(1_800_000_000_000), ..handler("audit", 1) }, handler("project", 2)];

    let copy = retry(&first, &handlers, NOW);

    assert_eq!(copy.body, first.message.body);
    assert_eq!(copy.properties.expiration.as_deref(), Some("1000"));
    let mut properties = copy.properties.clone();
    properties.expiration = None;
    assert_eq!(properties, first.message.properties);
    let headers = &copy.headers;
    assert_eq!(headers.get_str("traceparent"), Some("00-1-2-01"));
    assert_eq!(headers.get_str("es-delay"), Some("1s"));
    assert_eq!(headers.get("x-retry-count"), Some(&Value::I8(2)));
    assert_eq!(headers.get_str("x-last-retry-at"), Some("2026-11-21T08:44:55.895695+00:00"));
    assert_eq!(headers.get_str("x-es-publish-id"), Some("p"));
    assert_eq!(headers.get_str("x-es-error"), Some("the ledger is closed"));

    let back = redelivered(copy);
    assert_eq!(attempts(&back, QUEUE), handlers);
    assert_eq!(attempts(&back, "events.other"), []);
    assert_eq!(origin(&back, QUEUE), origin(&first, QUEUE));
}

#[test]
fn what_a_copy_cannot_carry_is_kept_aside_once() {
    let mut first = received(captured(PUBLISHED));
    let properties = &mut first.message.properties;
    properties.user_id = Some("shop".into());
    properties.expiration = Some("60000".into());
    let headers = &mut first.message.headers;
    headers.insert("CC", vec![Value::from("copy.key")]);
    headers.insert("BCC", vec![Value::from("blind.key")]);
    headers.insert("x-death", vec![Value::from("theirs")]);
    headers.insert("x-last-death-queue", "elsewhere");

    let copy = retry(&first, &[handler("project", 1)], NOW);
    let again = retry(&redelivered(copy.clone()), &[handler("project", 2)], NOW);
    let dead = dead_letter(&redelivered(again.clone()), &failure());

    for copy in [copy, again, dead] {
        assert_eq!(copy.properties.user_id, None);
        for gone in ["CC", "BCC", "x-death", "x-last-death-queue", "x-first-death-reason", "x-delivery-count"]
        {
            assert_eq!(copy.headers.get(gone), None, "{gone}");
        }
        let kept: Vec<_> = copy.headers.iter().filter(|(name, _)| name.starts_with("x-es-orig-")).collect();
        let kept: Headers = kept.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        let expected: Headers = [
            ("x-es-orig-user_id", Value::from("shop")),
            ("x-es-orig-expiration", "60000".into()),
            ("x-es-orig-CC", vec![Value::from("copy.key")].into()),
            ("x-es-orig-BCC", vec![Value::from("blind.key")].into()),
            ("x-es-orig-x-death", vec![Value::from("theirs")].into()),
            ("x-es-orig-x-last-death-queue", "elsewhere".into()),
        ]
        .into_iter()
        .collect();
        assert_eq!(kept, expected);
    }
}

#[test]
fn a_copy_of_another_groups_copy_starts_anew() {
    let mut leaked = redelivered(retry(&received(captured(PUBLISHED)), &[handler("project", 2)], NOW));
    // eventsource-py, failing on it, sends it to the main exchange with all headers.
    leaked.exchange = "events".to_owned();
    let other = "events.audit";
    let origin = origin(&leaked, other);
    let later = NOW + Duration::HOUR;

    let copy = Source { received: &leaked, origin: &origin, queue: other, now: later }.retry(
        &[handler("audit", 1)],
        "1s",
        1000,
        &failure(),
        "p2",
    );

    assert_eq!(attempts(&leaked, other), []);
    assert_eq!(copy.headers.get_str("x-es-first-failure-at"), Some("2026-11-21T09:44:55.895695+00:00"));
    assert_eq!(attempts(&received(copy.clone()), other), [handler("audit", 1)]);
    assert_eq!(attempts(&received(copy), QUEUE), []);
}

#[test]
fn a_thousand_retries_are_as_large_as_two() {
    let mut delivery = received(captured(PUBLISHED));
    delivery.message.properties.expiration = Some("60000".into());
    let mut lens = Vec::new();

    for n in 0..1000 {
        let copy = retry(&delivery, &[handler("project", 1)], NOW + Duration::minutes(n));
        lens.push(header_frame_len(&copy));
        delivery = redelivered(copy);
    }

    assert_eq!(lens[1], lens[999]);
    let headers = &delivery.message.headers;
    assert_eq!(headers.get_str("x-es-first-failure-at"), Some("2026-11-21T08:44:55.895695+00:00"));
    assert_eq!(headers.get_str("x-es-last-failure-at"), Some("2026-11-22T01:23:55.895695+00:00"));
}

#[test]
fn a_dead_letter_tells_its_story_and_no_directions() {
    let back = redelivered(retry(&received(captured(PUBLISHED)), &[handler("project", 1)], NOW));
    let failure = FailureInfo { reason: "panic", error_type: "Panic", text: "index out of bounds".into() };

    let dead = dead_letter(&back, &failure);

    for (name, value) in [
        ("x-dlq-reason", Value::from("index out of bounds")),
        ("x-dlq-error-type", "Panic".into()),
        ("x-dlq-retry-count", Value::I8(3)),
        ("x-dlq-timestamp", "2026-11-21T08:44:55.895695+00:00".into()),
        ("x-original-routing-key", "Order.OrderPlaced".into()),
        ("x-es-original-exchange", "events".into()),
        ("x-es-queue", QUEUE.into()),
        ("x-es-handler", "project".into()),
        ("x-es-reason", "panic".into()),
        ("x-es-dlq-id", "dlq-1".into()),
        ("x-es-first-failure-at", "2026-11-21T08:44:55.895695+00:00".into()),
        ("x-es-last-failure-at", "2026-11-21T08:44:55.895695+00:00".into()),
    ] {
        assert_eq!(dead.headers.get(name), Some(&value), "{name}");
    }
    for gone in ["x-es-attempts", "es-delay", "x-es-waits", "x-es-error", "x-es-replayed", "x-death"] {
        assert_eq!(dead.headers.get(gone), None, "{gone}");
    }
    assert_eq!(dead.properties.expiration, None);
}

#[test]
fn a_replay_runs_the_failed_handler_from_the_start_and_can_be_retried() {
    let dead = dead_letter(&received(captured(PUBLISHED)), &failure());

    let replayed = replay(dead);
    assert_eq!(attempts(&replayed, QUEUE), [handler("project", 0)]);
    assert!(origin(&replayed, QUEUE).replayed);
    assert_eq!(origin(&replayed, QUEUE).routing_key, "Order.OrderPlaced");
    for gone in ["x-dlq-reason", "x-es-dlq-id", "x-es-handler", "x-es-first-failure-at"] {
        assert_eq!(replayed.message.headers.get(gone), None, "{gone}");
    }

    let retried = redelivered(retry(&replayed, &[handler("project", 1)], NOW));
    assert_eq!(attempts(&retried, QUEUE), [handler("project", 1)]);
}

#[test]
fn what_fails_again_after_a_replay_still_tells_whose_dead_letter_it_is() {
    let replayed = replay(dead_letter(&received(captured(PUBLISHED)), &failure()));

    let mut dead = received(dead_letter(&replayed, &failure()));
    let again = provenance(&dead, "events.projections.dlq");
    assert_eq!((again.author, again.handlers), (DeadLetterAuthor::EsBus, vec!["project".to_owned()]));

    // Unless somebody else replays it: what fails then is his.
    dead.message.headers.insert(names::REPLAYED_FROM_DLQ, "2026-11-22T00:00:00+00:00");
    let by_python = provenance(&dead, "events.projections.dlq");
    assert_eq!((by_python.author, by_python.handlers), (DeadLetterAuthor::EventsourcePy, Vec::new()));
}

#[test]
fn a_replay_by_python_starts_anew_and_can_be_retried() {
    let mut replayed = redelivered(retry(&received(captured(PUBLISHED)), &[handler("project", 2)], NOW));
    replayed.exchange = "events".to_owned();
    for mark in [Value::from("2026-11-21T08:44:57.711763+00:00"), Value::Bool(true), "x".repeat(500).into()] {
        replayed.message.headers.insert(names::REPLAYED_FROM_DLQ, mark);
        assert_eq!(attempts(&replayed, QUEUE), []);

        let retried = redelivered(retry(&replayed, &[handler("project", 1)], NOW));
        assert_eq!(attempts(&retried, QUEUE), [handler("project", 1)]);
    }
}

#[test]
fn an_unknown_event_counts_its_waits_apart() {
    let first = received(captured(PUBLISHED));
    let at = origin(&first, QUEUE);
    let wait = |received: &Received, handlers: &[HandlerAttempt], count| {
        Source { received, origin: &at, queue: QUEUE, now: NOW }.wait(
            handlers,
            count,
            "30s",
            30_000,
            names::REASON_UNKNOWN_EVENT,
            "p",
        )
    };

    let mut back = redelivered(wait(&first, &[], 1));
    assert_eq!(waits(&back, QUEUE), 1);
    assert_eq!(waits(&back, "events.other"), 0);
    assert_eq!(attempts(&back, QUEUE), []);
    assert_eq!(back.message.headers.get("x-retry-count"), Some(&Value::I8(0)));
    assert_eq!(back.message.headers.get_str("es-delay"), Some("30s"));

    back = redelivered(wait(&back, &[handler("gone", 2)], 2));
    assert_eq!((waits(&back, QUEUE), attempts(&back, QUEUE)), (2, vec![handler("gone", 2)]));

    let known = redelivered(retry(&back, &[handler("project", 1)], NOW));
    assert_eq!(waits(&known, QUEUE), 0);
}

#[test]
fn expirations_are_ones_that_the_broker_takes() {
    let first = received(captured(PUBLISHED));
    let at = origin(&first, QUEUE);
    let source = Source { received: &first, origin: &at, queue: QUEUE, now: NOW };

    let copy = source.retry(&[], "long", u64::MAX, &failure(), "p");

    assert_eq!(copy.properties.expiration.as_deref(), Some("4294967295"));
}

#[test]
fn an_error_text_is_cut_where_a_character_ends() {
    let text = FailureInfo { text: "ö".repeat(1_000_000).into(), ..failure() };

    let mut dead = dead_letter(&received(captured(PUBLISHED)), &text);

    let reason = dead.headers.get_str("x-dlq-reason").unwrap();
    assert!(reason.len() <= 4096 && reason.len() > 4090 && reason.ends_with('…'));
    fit(&mut dead, FRAME_MAX).unwrap();
    fit(&mut dead, 2000).unwrap();
    assert!(dead.headers.get_str("x-dlq-reason").unwrap().len() <= 1024);
    assert!(header_frame_len(&dead) <= 2000);
}

#[test]
fn headers_that_came_in_just_below_the_limit_still_fit() {
    let text = FailureInfo { text: "e".repeat(10_000).into(), ..failure() };
    for size in [1000, 100_000, 120_000, 126_000, 129_000, 130_500] {
        let mut first = received(captured(PUBLISHED));
        first.message.headers.insert("x-hostile", "h".repeat(size));
        first.message.headers.insert("traceparent", "00-1-2-01");
        assert!(header_frame_len(&first.message) <= FRAME_MAX);

        let mut retried = retry(&first, &[handler("project", 1)], NOW);
        let mut dead = dead_letter(&first, &text);
        let fits = fit(&mut retried, FRAME_MAX).is_ok();
        drop_foreign(&mut dead, FRAME_MAX).unwrap();

        assert_eq!(fits, size <= 129_000, "{size}");
        assert!(!fits || retried.headers.get("x-hostile").is_some());
        check_sizes("e", "k", &dead, FRAME_MAX, 1 << 20).unwrap();
        assert_eq!(dead.headers.get_str("traceparent"), Some("00-1-2-01"));
        let dropped = dead.headers.get_str("x-es-dropped-headers");
        assert_eq!(dropped, dead.headers.get("x-hostile").is_none().then_some("x-hostile"));
    }
}

#[test]
fn the_largest_headers_go_first_and_the_envelopes_last() {
    let mut first = received(captured(PUBLISHED));
    let headers = &mut first.message.headers;
    headers.insert("a", "x".repeat(50_000));
    headers.insert("b", "x".repeat(70_000));
    headers.insert("event_type", "x".repeat(5_000));
    headers.insert("x-retry-count", "x".repeat(1_000));
    headers.insert("x-replayed-from-dlq", "x".repeat(1_000));
    let mut copy = dead_letter(&first, &failure());

    drop_foreign(&mut copy, 100_000).unwrap();
    assert_eq!(copy.headers.get_str("x-es-dropped-headers"), Some("b"));

    drop_foreign(&mut copy, 2_500).unwrap();
    assert_eq!(copy.headers.get_str("x-es-dropped-headers"), Some("b,a,event_type"));

    let impossible = drop_foreign(&mut copy, 300).unwrap_err();
    assert_eq!(impossible.limit, 300);
    assert!(impossible.to_string().starts_with("the frame of properties and headers has "));
}

#[test]
fn a_size_that_is_too_much_is_named() {
    let message = captured(PUBLISHED);
    let long = "x".repeat(256);
    let check = |exchange: &str, key: &str, message: &Message| {
        check_sizes(exchange, key, message, FRAME_MAX, 1000).map_err(|error| error.to_string())
    };

    assert_eq!(check("events", "Order.OrderPlaced", &message), Ok(()));
    assert_eq!(
        check(&long, "k", &message),
        Err("the exchange's name has 256 bytes; at most 255 can be sent".to_owned())
    );
    assert_eq!(
        check("e", &long, &message),
        Err("the routing key has 256 bytes; at most 255 can be sent".to_owned())
    );
    let with = |change: &dyn Fn(&mut Message)| {
        let mut message = message.clone();
        change(&mut message);
        check("e", "k", &message).unwrap_err()
    };
    assert!(
        with(&|m| m.properties.kind = Some(long.clone().into())).starts_with("the property type has 256")
    );
    assert!(with(&|m| m.body = Bytes::from(vec![0; 1001])).starts_with("the body has 1001"));
    assert!(with(&|m| drop(m.headers.insert(long.clone(), 1_i64))).starts_with("the header name \"xxx"));
    assert!(
        with(&|m| {
            let inner: Headers = [(long.clone(), 1_i64)].into_iter().collect();
            m.headers.insert("list", vec![Value::Table(inner)]);
        })
        .starts_with("the header name \"xxx")
    );
    assert!(
        with(&|m| drop(m.headers.insert("h", "x".repeat(140_000)))).starts_with("the frame of properties")
    );
}
