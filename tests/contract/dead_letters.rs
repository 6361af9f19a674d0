//! Rejection, expiry and what becomes of the message: dead-letter exchanges and `x-death`.

use std::time::Duration;

use es_bus::{
    message::{Headers, Value},
    model::{Binding, DeadLetter, DeadLetterStrategy, ExchangeKind, Overflow, Queue, QueueKind},
    name::{ExchangeName, QueueName},
    transport::{Delivery, Settlement},
};
use tokio::time::Instant;

use super::{Fixture, body, expiring, next, publication, take};

pub(crate) async fn a_rejected_message_carries_its_death(fixture: &Fixture) {
    let dead = Dead::declare(fixture).await;
    let events = fixture.exchange("events", ExchangeKind::Topic).await;
    let queue = fixture.declare(&Queue { dead_letter: dead.letter(None), ..fixture.queue("orders") }).await;
    fixture.bind(&events, &queue, "Order.*").await;
    fixture.publish_to(&events, "Order.Placed", "order").await.expect("it is routed");

    let mut consumer = fixture.consume(&queue, 1).await;
    assert!(next(&mut consumer).await.settle(Settlement::Reject));

    let letter = dead.next(fixture).await;
    assert_eq!(body(&letter), "order");
    assert_eq!(letter.received.exchange, dead.exchange.as_str());
    assert_eq!(letter.received.routing_key, "Order.Placed");
    let headers = &letter.received.message.headers;
    let death = &deaths(&letter)[0];
    assert_eq!(death.get("count"), Some(&Value::I64(1)));
    assert_eq!(death.get_str("reason"), Some("rejected"));
    assert_eq!(death.get_str("queue"), Some(queue.as_str()));
    assert_eq!(death.get_str("exchange"), Some(events.as_str()));
    assert_eq!(death.get("routing-keys"), Some(&Value::Array(vec!["Order.Placed".into()])));
    assert!(matches!(death.get("time"), Some(Value::Timestamp(time)) if *time > 1_600_000_000));
    assert_eq!(death.get("original-expiration"), None);
    assert_eq!(headers.get_str("x-first-death-reason"), Some("rejected"));
    assert_eq!(headers.get_str("x-first-death-queue"), Some(queue.as_str()));
    assert_eq!(headers.get_str("x-first-death-exchange"), Some(events.as_str()));
}

pub(crate) async fn a_rejected_message_without_exchange_is_dropped(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    fixture.send(&queue, &["poison", "order"]).await;
    let mut consumer = fixture.consume(&queue, 1).await;

    assert!(next(&mut consumer).await.settle(Settlement::Reject));

    assert_eq!(take(&mut consumer).await, "order");
    consumer.close().await;
    assert!(fixture.contents(&queue).await.is_empty());
}

pub(crate) async fn takes_a_dead_letter_key_or_keeps_its_own(fixture: &Fixture) {
    let dead = Dead::declare(fixture).await;
    for (name, key, expected) in [("own", None, None), ("fixed", Some("orders.dead"), Some("orders.dead"))] {
        let queue = Queue { dead_letter: dead.letter(key), ..fixture.queue(name) };
        let queue = fixture.declare(&queue).await;
        fixture.send_message(&queue, expiring(name, SOON)).await;

        let letter = dead.next(fixture).await;

        assert_eq!(letter.received.routing_key, expected.unwrap_or(queue.as_str()));
        assert_eq!(deaths(&letter)[0].get_str("exchange"), Some(""));
        assert!(letter.settle(Settlement::Ack));
    }
}

pub(crate) async fn expires_by_its_own_ttl_and_loses_it(fixture: &Fixture) {
    let dead = Dead::declare(fixture).await;
    let queue = fixture.declare(&Queue { dead_letter: dead.letter(None), ..fixture.queue("orders") }).await;
    fixture.send_message(&queue, expiring("order", SOON)).await;

    let letter = dead.next(fixture).await;

    assert_eq!(letter.received.message.properties.expiration, None);
    let death = &deaths(&letter)[0];
    assert_eq!(death.get_str("reason"), Some("expired"));
    assert_eq!(death.get_str("original-expiration"), Some("100"));
}

pub(crate) async fn expires_by_the_ttl_of_the_queue(fixture: &Fixture) {
    let dead = Dead::declare(fixture).await;
    let queue = Queue { dead_letter: dead.letter(None), message_ttl: Some(SOON), ..fixture.queue("orders") };
    let queue = fixture.declare(&queue).await;
    let start = Instant::now();
    fixture.send(&queue, &["order"]).await;

    let letter = dead.next(fixture).await;

    assert!(start.elapsed() >= SOON);
    assert_eq!(deaths(&letter)[0].get_str("reason"), Some("expired"));
    assert_eq!(deaths(&letter)[0].get("original-expiration"), None);
}

pub(crate) async fn the_shorter_ttl_counts(fixture: &Fixture) {
    let dead = Dead::declare(fixture).await;
    for (name, of_queue, of_message) in [("queue", SOON, LATE), ("message", LATE, SOON)] {
        let queue =
            Queue { dead_letter: dead.letter(None), message_ttl: Some(of_queue), ..fixture.queue(name) };
        let queue = fixture.declare(&queue).await;
        fixture.send_message(&queue, expiring(name, of_message)).await;

        let letter = dead.next(fixture).await;

        assert_eq!(body(&letter), name);
        assert!(letter.settle(Settlement::Ack));
    }
}

pub(crate) async fn a_ttl_of_zero_expires_at_once(fixture: &Fixture) {
    let dead = Dead::declare(fixture).await;
    let queue = fixture.declare(&Queue { dead_letter: dead.letter(None), ..fixture.queue("orders") }).await;

    fixture.send_message(&queue, expiring("order", Duration::ZERO)).await;

    assert_eq!(body(&dead.next(fixture).await), "order");
}

pub(crate) async fn expires_at_the_head_of_the_queue_only(fixture: &Fixture) {
    let dead = Dead::declare(fixture).await;
    let queue = fixture.declare(&Queue { dead_letter: dead.letter(None), ..fixture.queue("orders") }).await;
    let long = Duration::from_millis(1500);
    let start = Instant::now();
    fixture.send_message(&queue, expiring("long", long)).await;
    fixture.send_message(&queue, expiring("short", SOON)).await;

    let mut consumer = fixture.consume(&dead.queue, 10).await;

    assert_eq!(take(&mut consumer).await, "long");
    assert!(start.elapsed() >= long);
    assert_eq!(take(&mut consumer).await, "short");
}

/// design.md 4: a headers exchange picks the delay queue, whose dead letters come back through a
/// fanout exchange that is bound to the work queue only.
pub(crate) async fn comes_back_through_the_retry_layout_with_its_key(fixture: &Fixture) {
    let work = fixture.plain("work").await;
    let back = fixture.exchange("in", ExchangeKind::Fanout).await;
    let retry = fixture.exchange("retry", ExchangeKind::Headers).await;
    fixture.bind(&back, &work, "").await;
    for delay in ["1s", "2s"] {
        let queue = Queue { dead_letter: to(&back, None, fixture.kind), ..fixture.queue(delay) };
        let queue = Queue { overflow: Some(Overflow::RejectPublish), ..queue };
        let queue = fixture.declare(&queue).await;
        let arguments = [("x-match", Value::from("all")), ("es-delay", Value::from(delay))].into_iter();
        let binding = Binding { arguments: arguments.collect(), ..Binding::by_key(retry.clone(), queue, "") };
        fixture.transport.bind(&binding).await.expect("the delay queue is bound");
    }
    let start = Instant::now();

    let mut message = expiring("order", Duration::from_secs(1));
    message.headers.insert("es-delay", "1s");
    fixture.publish(publication(&retry, "Order.Placed", message)).await.expect("a delay queue takes it");

    let mut consumer = fixture.consume(&work, 1).await;
    let again = next(&mut consumer).await;
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(again.received.routing_key, "Order.Placed");
    assert_eq!(again.received.exchange, back.as_str());
    assert!(!again.received.redelivered);
    assert!(again.settle(Settlement::Ack));
    consumer.close().await;
    assert!(fixture.contents(&work).await.is_empty(), "one copy came back");
}

pub(crate) async fn a_cycle_without_a_rejection_ends(fixture: &Fixture) {
    let (there, back) = (fixture.queue("there"), fixture.queue("back"));
    let hop = |from: &Queue, target: &Queue| Queue {
        dead_letter: to(&ExchangeName::default_exchange(), Some(target.name.as_str()), QueueKind::Classic),
        message_ttl: Some(SOON),
        ..from.clone()
    };
    let (there, back) = (hop(&there, &back), hop(&back, &there));
    fixture.declare(&there).await;
    fixture.declare(&back).await;

    fixture.send(&there.name, &["round"]).await;

    fixture.wait_for_messages(&there.name, 0).await;
    fixture.wait_for_messages(&back.name, 0).await;
    fixture.wait_for_messages(&there.name, 0).await;
}

pub(crate) async fn a_missing_exchange_loses_dead_letters_and_nothing_else(fixture: &Fixture) {
    let missing = fixture.exchange_name("missing");
    let queue = Queue { dead_letter: to(&missing, None, QueueKind::Classic), ..fixture.queue("orders") };
    let queue = fixture.declare(&queue).await;
    fixture.send_message(&queue, expiring("lost", SOON)).await;
    fixture.wait_for_messages(&queue, 0).await;

    fixture.send(&queue, &["order"]).await;

    assert_eq!(fixture.contents(&queue).await, ["order"]);
}

pub(crate) async fn a_second_death_stands_first(fixture: &Fixture) {
    let dead = Dead::declare(fixture).await;
    let back = fixture.exchange("in", ExchangeKind::Fanout).await;
    let work = fixture.declare(&Queue { dead_letter: dead.letter(None), ..fixture.queue("work") }).await;
    fixture.bind(&back, &work, "").await;
    let delay = Queue { dead_letter: to(&back, None, QueueKind::Classic), ..fixture.queue("delay") };
    let delay = fixture.declare(&delay).await;
    fixture.send_message(&delay, expiring("order", SOON)).await;

    let mut consumer = fixture.consume(&work, 1).await;
    assert!(next(&mut consumer).await.settle(Settlement::Reject));

    let letter = dead.next(fixture).await;
    let queues: Vec<_> =
        deaths(&letter).iter().map(|death| death.get_str("queue").expect("a queue").to_owned()).collect();
    assert_eq!(queues, [work.as_str(), delay.as_str()]);
    assert_eq!(letter.received.message.headers.get_str("x-first-death-queue"), Some(delay.as_str()));
}

pub(crate) async fn a_delivery_limit_ends_redelivery(fixture: &Fixture) {
    let dead = Dead::declare(fixture).await;
    let queue = Queue {
        dead_letter: dead.letter(None),
        delivery_limit: Some(1),
        ..fixture.queue_of(QueueKind::Quorum, "orders")
    };
    let queue = fixture.declare(&queue).await;
    fixture.send(&queue, &["poison"]).await;
    let mut consumer = fixture.consume(&queue, 1).await;

    assert!(next(&mut consumer).await.settle(Settlement::Requeue));
    let again = next(&mut consumer).await;
    assert_eq!(again.received.message.headers.get_int("x-delivery-count"), Some(1));
    assert!(again.settle(Settlement::Requeue));

    let letter = dead.next(fixture).await;
    assert_eq!(deaths(&letter)[0].get_str("reason"), Some("delivery_limit"));
}

pub(crate) async fn at_least_once_waits_for_a_target(fixture: &Fixture) {
    let exchange = fixture.exchange("dlx", ExchangeKind::Direct).await;
    let queue = at_least_once(fixture, &exchange).await;
    fixture.send_message(&queue, expiring("order", SOON)).await;
    // Kept, and not counted as ready.
    fixture.wait_for_messages(&queue, 0).await;

    let late = fixture.declare(&fixture.queue_of(QueueKind::Quorum, "late")).await;
    fixture.bind(&exchange, &late, queue.as_str()).await;

    let mut consumer = fixture.consume(&late, 1).await;
    assert_eq!(take(&mut consumer).await, "order");
}

pub(crate) async fn at_least_once_waits_for_room(fixture: &Fixture) {
    let exchange = fixture.exchange("dlx", ExchangeKind::Fanout).await;
    let target = Queue {
        max_length: Some(1),
        overflow: Some(Overflow::RejectPublish),
        ..fixture.queue_of(QueueKind::Classic, "target")
    };
    let target = fixture.declare(&target).await;
    fixture.bind(&exchange, &target, "").await;
    fixture.send(&target, &["first"]).await;
    let queue = at_least_once(fixture, &exchange).await;
    fixture.send_message(&queue, expiring("second", SOON)).await;
    fixture.wait_for_messages(&queue, 0).await;

    let mut consumer = fixture.consume(&target, 1).await;

    assert_eq!(take(&mut consumer).await, "first");
    assert_eq!(take(&mut consumer).await, "second");
}

/// A dead-letter exchange with one queue that takes everything.
struct Dead {
    exchange: ExchangeName,
    queue: QueueName,
}

impl Dead {
    async fn declare(fixture: &Fixture) -> Self {
        let exchange = fixture.exchange("dlx", ExchangeKind::Fanout).await;
        let queue = fixture.plain("dlq").await;
        fixture.bind(&exchange, &queue, "").await;
        Self { exchange, queue }
    }

    fn letter(&self, key: Option<&str>) -> Option<DeadLetter> {
        to(&self.exchange, key, QueueKind::Classic)
    }

    async fn next(&self, fixture: &Fixture) -> Delivery {
        let mut consumer = fixture.consume(&self.queue, 1).await;
        next(&mut consumer).await
    }
}

fn to(exchange: &ExchangeName, key: Option<&str>, kind: QueueKind) -> Option<DeadLetter> {
    Some(DeadLetter {
        exchange: exchange.clone(),
        routing_key: key.map(str::to_owned),
        strategy: match kind {
            QueueKind::Quorum => DeadLetterStrategy::AtLeastOnce,
            _ => DeadLetterStrategy::AtMostOnce,
        },
    })
}

async fn at_least_once(fixture: &Fixture, exchange: &ExchangeName) -> QueueName {
    let queue = Queue {
        dead_letter: to(exchange, None, QueueKind::Quorum),
        overflow: Some(Overflow::RejectPublish),
        ..fixture.queue_of(QueueKind::Quorum, "source")
    };
    fixture.declare(&queue).await
}

fn deaths(delivery: &Delivery) -> Vec<Headers> {
    let deaths = delivery.received.message.headers.get("x-death").and_then(Value::as_array);
    deaths.expect("it has died").iter().filter_map(Value::as_table).cloned().collect()
}

const SOON: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_secs(600);
