//! Declarations: what may be said again, what differs, what is missing.

use std::time::Duration;

use es_bus::{
    message::Value,
    model::{Binding, DeadLetter, DeadLetterStrategy, Exchange, ExchangeKind, Overflow, Queue, QueueKind},
    name::ExchangeName,
    transport::{DeclareError, LinkState, PublishError, Removal},
};
use tokio::time::timeout;

use super::{Fixture, PATIENCE, hold, take};

pub(crate) async fn declares_again_without_harm(fixture: &Fixture) {
    let exchange = Exchange::durable(fixture.exchange_name("events"), ExchangeKind::Topic);
    let queue = Queue { message_ttl: Some(Duration::from_secs(60)), ..fixture.queue("orders") };
    for _ in 0..2 {
        fixture.transport.declare_exchange(&exchange).await.expect("the exchange");
        fixture.declare(&queue).await;
        fixture.bind(&exchange.name, &queue.name, "Order.*").await;
    }

    fixture.publish_to(&exchange.name, "Order.Placed", "order").await.expect("it is routed");

    assert_eq!(fixture.contents(&queue.name).await, ["order"]);
}

pub(crate) async fn binds_twice_and_delivers_once(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Direct).await;
    let queue = fixture.plain("orders").await;
    fixture.bind(&events, &queue, "Order.Placed").await;
    fixture.bind(&events, &queue, "Order.Placed").await;
    fixture.publish_to(&events, "Order.Placed", "order").await.expect("it is routed");

    assert_eq!(fixture.contents(&queue).await, ["order"]);
}

pub(crate) async fn unbinds_what_is_not_there(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Topic).await;
    let queue = fixture.plain("orders").await;

    let binding = Binding::by_key(events, queue, "Order.*");

    fixture.transport.unbind(&binding).await.expect("nothing to do is no error");
}

pub(crate) async fn an_unbound_queue_gets_nothing_more(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Topic).await;
    let queue = fixture.plain("orders").await;
    for key in ["Order.*", "Invoice.*"] {
        fixture.bind(&events, &queue, key).await;
    }

    let binding = Binding::by_key(events.clone(), queue.clone(), "Order.*");
    fixture.transport.unbind(&binding).await.expect("the binding goes");

    let error = fixture.publish_to(&events, "Order.Placed", "order").await;
    assert!(matches!(error, Err(PublishError::Unroutable { .. })), "{error:?}");
    fixture.publish_to(&events, "Invoice.Sent", "invoice").await.expect("the other binding stays");
    assert_eq!(fixture.contents(&queue).await, ["invoice"]);
}

pub(crate) async fn names_the_setting_of_a_queue_that_differs(fixture: &Fixture) {
    let queue = fixture.queue("orders");
    fixture.declare(&queue).await;
    let dead_letter = |key: Option<&str>| {
        Some(DeadLetter {
            exchange: fixture.exchange_name("dlx"),
            routing_key: key.map(str::to_owned),
            strategy: DeadLetterStrategy::AtMostOnce,
        })
    };
    let second = Some(Duration::from_secs(1));
    let other_kind = match queue.kind {
        QueueKind::Quorum => QueueKind::Classic,
        _ => QueueKind::Quorum,
    };
    for (field, wanted) in [
        ("x-message-ttl", Queue { message_ttl: second, ..queue.clone() }),
        ("x-expires", Queue { expires: second, ..queue.clone() }),
        ("x-max-length", Queue { max_length: Some(7), ..queue.clone() }),
        ("x-max-length-bytes", Queue { max_length_bytes: Some(7), ..queue.clone() }),
        ("x-overflow", Queue { overflow: Some(Overflow::DropHead), ..queue.clone() }),
        ("x-dead-letter-exchange", Queue { dead_letter: dead_letter(None), ..queue.clone() }),
        ("x-queue-type", Queue { kind: other_kind, ..queue.clone() }),
    ] {
        let error = fixture.transport.declare_queue(&wanted).await.expect_err(field);
        match error {
            DeclareError::Mismatch { what, name, field: found, .. } => {
                assert_eq!(
                    (what, name.as_str(), found.as_deref()),
                    ("queue", queue.name.as_str(), Some(field))
                );
            }
            other => panic!("{field}: {other:?}"),
        }
    }

    let timed = Queue { dead_letter: dead_letter(Some("a")), ..fixture.queue("dead") };
    fixture.declare(&timed).await;
    let other_key = Queue { dead_letter: dead_letter(Some("b")), ..timed.clone() };
    match fixture.transport.declare_queue(&other_key).await {
        Err(DeclareError::Mismatch { field, wanted, found, .. }) => {
            assert_eq!(field.as_deref(), Some("x-dead-letter-routing-key"));
            assert_eq!((wanted.as_deref(), found.as_deref()), (Some("b"), Some("a")));
        }
        other => panic!("{other:?}"),
    }
    fixture.declare(&queue).await;
}

pub(crate) async fn ignores_arguments_that_nobody_knows(fixture: &Fixture) {
    let queue = fixture.queue("orders");
    fixture.declare(&queue).await;
    let mut noted = queue.clone();
    noted.arguments.insert("x-note", "for people");

    fixture.declare(&noted).await;
}

pub(crate) async fn refuses_to_bind_what_is_missing(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Topic).await;
    let queue = fixture.plain("orders").await;
    for (exchange, queue) in
        [(events.clone(), fixture.queue("missing").name), (fixture.exchange_name("missing"), queue)]
    {
        let error = fixture.transport.bind(&Binding::by_key(exchange, queue, "#")).await;
        assert!(matches!(error, Err(DeclareError::Refused { .. })), "{error:?}");
    }
}

pub(crate) async fn deletes_queues_and_their_bindings(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Topic).await;
    let queue = fixture.plain("orders").await;
    fixture.bind(&events, &queue, "#").await;
    fixture.send(&queue, &["order"]).await;

    for _ in 0..2 {
        fixture.transport.delete_queue(&queue).await.expect("it is gone, now or before");
    }

    assert_eq!(fixture.status(&queue).await, None);
    fixture.plain("orders").await;
    let error = fixture.publish_to(&events, "Order.Placed", "order").await;
    assert!(matches!(error, Err(PublishError::Unroutable { .. })), "{error:?}");
    for _ in 0..2 {
        fixture.transport.delete_exchange(&events).await.expect("it is gone, now or before");
    }
    let error = fixture.publish_to(&events, "Order.Placed", "order").await;
    assert!(matches!(error, Err(PublishError::NoExchange { .. })), "{error:?}");
}

pub(crate) async fn purges_what_is_ready(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    fixture.send(&queue, &["a", "b", "c"]).await;
    let mut consumer = fixture.consume(&queue, 1).await;
    let held = hold(&mut consumer, 1).await;
    fixture.wait_for_messages(&queue, 2).await;

    assert_eq!(fixture.transport.purge(&queue).await.expect("it is purged"), 2);

    consumer.close().await;
    drop(held);
    assert_eq!(fixture.contents(&queue).await, ["a"]);
    let missing = fixture.queue("missing").name;
    let error = fixture.transport.purge(&missing).await;
    assert!(matches!(error, Err(DeclareError::Refused { .. })), "{error:?}");
}

pub(crate) async fn status_counts_ready_messages_and_consumers(fixture: &Fixture) {
    assert_eq!(fixture.status(&fixture.queue("missing").name).await, None);
    let queue = fixture.plain("orders").await;
    fixture.send(&queue, &["a", "b"]).await;
    fixture.wait_for_messages(&queue, 2).await;
    fixture.wait_for_consumers(&queue, 0).await;

    let mut consumer = fixture.consume(&queue, 1).await;
    fixture.wait_for_consumers(&queue, 1).await;
    assert_eq!(take(&mut consumer).await, "a");
}

pub(crate) async fn an_unused_queue_expires(fixture: &Fixture) {
    let queue = Queue { expires: Some(Duration::from_millis(300)), ..fixture.queue("fleeting") };
    let queue = fixture.declare(&queue).await;

    let gone = timeout(PATIENCE, async {
        // Looking at it counts as use.
        while fixture.status(&queue).await.is_some() {
            tokio::time::sleep(Duration::from_millis(1000)).await;
        }
    });

    assert!(gone.await.is_ok(), "the queue is still there");
}

pub(crate) async fn names_the_setting_of_an_exchange_that_differs(fixture: &Fixture) {
    let exchange = Exchange::durable(fixture.exchange_name("events"), ExchangeKind::Topic);
    fixture.transport.declare_exchange(&exchange).await.expect("the exchange");
    let mut with_alternate = exchange.clone();
    with_alternate.arguments.insert("alternate-exchange", "elsewhere");
    for (field, wanted) in [
        ("type", Exchange { kind: ExchangeKind::Direct, ..exchange.clone() }),
        ("durable", Exchange { durable: false, ..exchange.clone() }),
        ("auto_delete", Exchange { auto_delete: true, ..exchange.clone() }),
        ("internal", Exchange { internal: true, ..exchange.clone() }),
        ("alternate-exchange", with_alternate),
    ] {
        match fixture.transport.declare_exchange(&wanted).await {
            Err(DeclareError::Mismatch { what, name, field: found, .. }) => {
                assert_eq!(
                    (what, name.as_str(), found.as_deref()),
                    ("exchange", exchange.name.as_str(), Some(field))
                );
            }
            other => panic!("{field}: {other:?}"),
        }
    }
    fixture.transport.declare_exchange(&exchange).await.expect("it is unharmed");
}

pub(crate) async fn knows_an_exchange_of_whatever_kind(fixture: &Fixture) {
    let exists = async |name: &ExchangeName| {
        fixture.transport.exchange_exists(name).await.expect("the broker answers")
    };
    for (name, kind) in [("topic", ExchangeKind::Topic), ("headers", ExchangeKind::Headers)] {
        assert!(!exists(&fixture.exchange_name(name)).await);
        let name = fixture.exchange(name, kind).await;
        assert!(exists(&name).await);
    }
    assert!(exists(&ExchangeName::default_exchange()).await);
}

pub(crate) async fn deletes_only_an_exchange_that_nothing_is_bound_to_where_that_is_asked(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Topic).await;
    let queue = fixture.plain("orders").await;
    fixture.bind(&events, &queue, "Order.*").await;

    let in_use = fixture.transport.delete_unused_exchange(&events).await;
    fixture.transport.delete_queue(&queue).await.expect("it goes, and its binding");
    for _ in 0..2 {
        fixture.transport.delete_unused_exchange(&events).await.expect("one that is gone is no error");
    }

    assert!(matches!(in_use, Err(DeclareError::Refused { .. })), "{in_use:?}");
    assert!(!fixture.transport.exchange_exists(&events).await.expect("the broker answers"));
}

pub(crate) async fn is_observed_as_far_as_it_tells(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Topic).await;
    let queue = fixture.plain("orders").await;
    fixture.bind(&events, &queue, "Order.*").await;
    fixture.send(&queue, &["a"]).await;
    let missing = (fixture.exchange_name("missing"), fixture.queue("missing").name);

    let asked = ([events.clone(), missing.0.clone()], [queue.clone(), missing.1.clone()]);
    let seen = fixture.transport.observe(&asked.0, &asked.1).await.expect("the broker answers");

    assert!(seen.exchanges.contains_key(events.as_str()) && !seen.exchanges.contains_key(missing.0.as_str()));
    assert!(!seen.queues.contains_key(missing.1.as_str()));
    assert_eq!(
        (seen.queues[queue.as_str()].ready, seen.queues[queue.as_str()].consumers),
        (Some(1), Some(0))
    );
    // Settings and bindings are seen both or not at all.
    let bound =
        seen.bindings.map(|all| all.iter().any(|it| it.source == events.as_str() && it.key == "Order.*"));
    assert_eq!(bound, seen.queues[queue.as_str()].settings.as_ref().map(|_| true));
}

pub(crate) async fn deletes_only_a_queue_that_is_idle_where_that_is_asked(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    let delete =
        async || fixture.transport.delete_idle_queue(&queue, fixture.kind == QueueKind::Classic).await;
    fixture.send(&queue, &["a"]).await;
    fixture.wait_for_messages(&queue, 1).await;

    let full = delete().await;
    let mut consumer = fixture.consume(&queue, 1).await;
    assert_eq!(take(&mut consumer).await, "a");
    fixture.wait_for_consumers(&queue, 1).await;
    let in_use = delete().await;
    consumer.close().await;
    fixture.wait_for_consumers(&queue, 0).await;
    for _ in 0..2 {
        delete().await.expect("one that is gone is no error");
    }

    assert!(matches!(full, Err(DeclareError::Refused { .. })), "{full:?}");
    assert!(matches!(in_use, Err(DeclareError::Refused { .. })), "{in_use:?}");
    assert_eq!(fixture.status(&queue).await, None);
}

pub(crate) async fn removes_only_while_it_has_the_lock(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    let lock = fixture.queue_of(QueueKind::Classic, "lock");
    let lock = Queue { durable: false, exclusive: true, ..lock };
    let transport = &fixture.transport;
    let remove = async |removal: Removal| transport.remove_while_locked(&removal, &lock.name).await;

    let without = remove(Removal::Queue(queue.clone())).await;
    let is_there = fixture.status(&queue).await.is_some();
    fixture.declare(&lock).await;
    for _ in 0..2 {
        remove(Removal::Queue(queue.clone())).await.expect("one that is gone is no error");
    }

    assert!(matches!(without, Err(DeclareError::Interrupted { .. })), "{without:?}");
    assert!(is_there, "and nothing was removed");
    assert_eq!(fixture.status(&queue).await, None);
}

pub(crate) async fn refuses_what_a_kind_of_queue_cannot_be(fixture: &Fixture) {
    let quorum = fixture.queue_of(QueueKind::Quorum, "quorum");
    let classic = fixture.queue_of(QueueKind::Classic, "classic");
    let with = |queue: &Queue, name: &'static str, value: Value| {
        let mut queue = queue.clone();
        queue.arguments.insert(name, value);
        queue
    };
    for queue in [
        Queue { exclusive: true, ..quorum.clone() },
        Queue { durable: false, ..quorum.clone() },
        with(&quorum, "x-max-priority", Value::I32(5)),
        with(&quorum, "x-queue-mode", "lazy".into()),
        with(&quorum, "x-message-ttl", Value::I32(-1)),
        with(&classic, "x-dead-letter-strategy", "at-least-once".into()),
        with(&classic, "x-max-age", "1h".into()),
        with(&classic, "x-overflow", "drop-tail".into()),
        with(&classic, "x-expires", Value::I32(0)),
        with(&classic, "x-dead-letter-routing-key", "orders".into()),
    ] {
        // A creation that fails is a 406 like a mismatch, but nothing there differs.
        let error = fixture.transport.declare_queue(&queue).await.expect_err("it cannot be created");
        assert!(
            matches!(error, DeclareError::Refused { .. } | DeclareError::Mismatch { found: None, .. }),
            "{queue:?}: {error:?}"
        );
        assert_eq!(fixture.status(&queue.name).await, None);
    }
    // Of a queue that is there only what its kind knows is compared.
    fixture.declare(&classic).await;
    for (name, value) in [("x-delivery-limit", Value::I32(5)), ("x-max-age", "1h".into())] {
        fixture.transport.declare_queue(&with(&classic, name, value)).await.expect("it is ignored");
    }
}

pub(crate) async fn the_link_is_up_and_closes(fixture: &Fixture) {
    let transport = &fixture.transport;
    assert!(!transport.describe().is_empty());
    assert!(matches!(transport.link().borrow().state, LinkState::Up));
    let queue = fixture.plain("orders").await;

    timeout(PATIENCE, transport.close()).await.expect("it closes in time");

    assert!(matches!(transport.link().borrow().state, LinkState::Closed));
    let error = fixture.publish_to(&fixture.exchange_name("events"), "Order.Placed", "order").await;
    assert!(matches!(error, Err(PublishError::Closed | PublishError::Interrupted { .. })), "{error:?}");
    assert!(transport.consume(fixture.request(&queue, 1)).await.is_err());
    assert!(transport.queue_status(&queue).await.is_err());
}
