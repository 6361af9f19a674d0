//! Publishing: the verdict on each message is its own.

use std::sync::Arc;

use es_bus::{
    message::{Headers, Value},
    model::{Exchange, ExchangeKind, QueueKind},
    name::ExchangeName,
    transport::{Publication, PublishError},
};
use tokio::task::JoinSet;

use super::{Fixture, publication, text};

pub(crate) async fn a_mandatory_message_without_queue_is_returned(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Topic).await;
    let queue = fixture.plain("orders").await;
    fixture.bind(&events, &queue, "Order.*").await;

    match fixture.publish_to(&events, "Invoice.Sent", "invoice").await {
        Err(PublishError::Unroutable { exchange, routing_key }) => {
            assert_eq!((exchange.as_str(), routing_key.as_str()), (events.as_str(), "Invoice.Sent"));
        }
        other => panic!("{other:?}"),
    }

    fixture.publish_to(&events, "Order.Placed", "order").await.expect("the next one is routed");
    assert_eq!(fixture.contents(&queue).await, ["order"]);
}

pub(crate) async fn a_message_without_queue_is_dropped_when_nobody_asks(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Topic).await;

    let lost = Publication { mandatory: false, ..publication(&events, "Order.Placed", text("order")) };

    fixture.publish(lost).await.expect("nobody asked");
}

pub(crate) async fn there_is_no_publishing_to_a_missing_exchange(fixture: &Fixture) {
    let missing = fixture.exchange_name("missing");
    for mandatory in [true, false] {
        let lost = Publication { mandatory, ..publication(&missing, "Order.Placed", text("order")) };

        match fixture.publish(lost).await {
            Err(PublishError::NoExchange { exchange, .. }) => assert_eq!(exchange, missing.as_str()),
            other => panic!("{other:?}"),
        }
    }
    let queue = fixture.plain("orders").await;
    fixture.send(&queue, &["order"]).await;
}

pub(crate) async fn refuses_an_expiration_that_is_no_number(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    for expiration in ["1.5", "-1", "soon", "", "999999999999999"] {
        let mut message = text("order");
        message.properties.expiration = Some(expiration.into());
        let bad = publication(&ExchangeName::default_exchange(), queue.as_str(), message);

        let error = fixture.publish(bad).await;

        assert!(matches!(error, Err(PublishError::Rejected { .. })), "{expiration}: {error:?}");
    }
    assert!(fixture.contents(&queue).await.is_empty());
}

pub(crate) async fn publishes_of_many_tasks_arrive_once_each(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    let mut tasks = JoinSet::new();
    for number in 0..200_u32 {
        let transport = Arc::clone(&fixture.transport);
        let message = text(&format!("{number:03}"));
        let publication = publication(&ExchangeName::default_exchange(), queue.as_str(), message);
        tasks.spawn(async move { transport.publish(&publication).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic").expect("the queue takes it");
    }

    let mut bodies = fixture.contents(&queue).await;
    bodies.sort();
    assert_eq!(bodies, (0..200).map(|number| format!("{number:03}")).collect::<Vec<_>>());
}

pub(crate) async fn cc_and_bcc_route_copies(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Direct).await;
    let mut queues = Vec::new();
    for key in ["to", "cc", "bcc"] {
        let queue = fixture.plain(key).await;
        fixture.bind(&events, &queue, key).await;
        queues.push(queue);
    }
    let keys = |key: &str| Value::Array(vec![key.into()]);
    let mut message = text("order");
    message.headers = [("CC", keys("cc")), ("BCC", keys("bcc"))].into_iter().collect::<Headers>();
    fixture.publish(publication(&events, "to", message)).await.expect("it is routed");

    for queue in queues {
        let mut consumer = fixture.consume(&queue, 1).await;
        let delivery = super::next(&mut consumer).await;
        assert_eq!(delivery.received.routing_key, "to");
        assert_eq!(delivery.received.message.headers.get("CC"), Some(&keys("cc")));
        assert_eq!(delivery.received.message.headers.get("BCC"), None, "nobody sees the blind copies");
    }
}

/// The regression of reliability.md 1.4: a returned message must not be credited to another one.
pub(crate) async fn no_verdict_is_wrong_among_a_thousand_at_once(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Direct).await;
    let queue = fixture.declare(&fixture.queue_of(QueueKind::Quorum, "orders")).await;
    fixture.bind(&events, &queue, "known").await;
    for round in 0..20 {
        let mut tasks = JoinSet::new();
        for number in 0..1000 {
            let transport = Arc::clone(&fixture.transport);
            let is_known = number % 2 == 0;
            let key = if is_known { "known" } else { "unknown" };
            let mut message = text("order");
            // One of ten has no id by which it could be told from the others.
            message.properties.message_id = (number % 10 > 1).then(|| format!("{round}-{number}").into());
            let publication = publication(&events, key, message);
            tasks.spawn(async move { (is_known, transport.publish(&publication).await) });
        }
        let mut wrong = Vec::new();
        while let Some(done) = tasks.join_next().await {
            match done.expect("no panic") {
                (true, Ok(())) | (false, Err(PublishError::Unroutable { .. })) => {}
                (is_known, verdict) => wrong.push((is_known, verdict)),
            }
        }
        assert!(wrong.is_empty(), "round {round}: {} wrong verdicts: {wrong:?}", wrong.len());
    }
    fixture.wait_for_messages(&queue, 20 * 500).await;
}

pub(crate) async fn an_alternate_exchange_takes_what_is_unroutable(fixture: &Fixture) {
    let elsewhere = fixture.exchange("elsewhere", ExchangeKind::Fanout).await;
    let mut events = Exchange::durable(fixture.exchange_name("events"), ExchangeKind::Direct);
    events.arguments.insert("alternate-exchange", elsewhere.as_str());
    fixture.transport.declare_exchange(&events).await.expect("the exchange");
    let (orders, rest) = (fixture.plain("orders").await, fixture.plain("rest").await);
    fixture.bind(&events.name, &orders, "Order.Placed").await;
    fixture.bind(&elsewhere, &rest, "").await;

    for key in ["Order.Placed", "Invoice.Sent"] {
        fixture.publish_to(&events.name, key, key).await.expect("one of the two takes it");
    }

    assert_eq!(fixture.contents(&orders).await, ["Order.Placed"]);
    assert_eq!(fixture.contents(&rest).await, ["Invoice.Sent"]);
}

pub(crate) async fn an_internal_exchange_takes_no_publishes(fixture: &Fixture) {
    let internal = Exchange {
        internal: true,
        ..Exchange::durable(fixture.exchange_name("internal"), ExchangeKind::Fanout)
    };
    fixture.transport.declare_exchange(&internal).await.expect("the exchange");

    let error = fixture.publish_to(&internal.name, "Order.Placed", "order").await;

    assert!(matches!(error, Err(PublishError::Rejected { .. })), "{error:?}");
}

pub(crate) async fn a_key_that_amqp_cannot_carry_is_too_large(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    let default = ExchangeName::default_exchange();

    let error = fixture.publish_to(&default, &"k".repeat(256), "order").await;
    assert!(matches!(error, Err(PublishError::TooLarge { size: 256, limit: 255, .. })), "{error:?}");

    let mut message = text("order");
    message.properties.message_id = Some("m".repeat(300).into());
    let error = fixture.publish(publication(&default, queue.as_str(), message)).await;
    assert!(matches!(error, Err(PublishError::TooLarge { size: 300, limit: 255, .. })), "{error:?}");
}
