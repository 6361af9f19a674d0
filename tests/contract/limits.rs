//! Bounded queues. A quorum queue may hold a little more than its limit, so cases fill one until it
//! says no.

use es_bus::{
    model::{DeadLetter, DeadLetterStrategy, ExchangeKind, Overflow, Queue, QueueKind},
    name::{ExchangeName, QueueName},
    transport::PublishError,
};
use tokio::time::timeout;

use super::{Fixture, PATIENCE, body, next, take};

pub(crate) async fn drops_the_oldest_beyond_the_length(fixture: &Fixture) {
    let queue = fixture.declare(&Queue { max_length: Some(3), ..fixture.queue("orders") }).await;
    fixture.send(&queue, &["a", "b", "c", "d", "e"]).await;
    fixture.wait_for_messages(&queue, 3).await;

    let mut consumer = fixture.consume(&queue, 3).await;

    assert_eq!(super::take_all(&mut consumer, 3).await, ["c", "d", "e"]);
}

pub(crate) async fn drops_the_oldest_beyond_the_bytes(fixture: &Fixture) {
    let queue = fixture.declare(&Queue { max_length_bytes: Some(2000), ..fixture.queue("orders") }).await;
    for digit in ["1", "2", "3", "4"] {
        fixture.send(&queue, &[&digit.repeat(900)]).await;
    }
    fixture.wait_for_messages(&queue, 2).await;

    let mut consumer = fixture.consume(&queue, 2).await;

    assert!(take(&mut consumer).await.starts_with('3'));
    assert!(take(&mut consumer).await.starts_with('4'));
}

pub(crate) async fn what_is_dropped_for_length_is_dead_lettered(fixture: &Fixture) {
    let dead = fixture.plain("dead").await;
    let queue = Queue { max_length: Some(1), dead_letter: to_queue(&dead), ..fixture.queue("orders") };
    let queue = fixture.declare(&queue).await;
    fixture.send(&queue, &["a", "b"]).await;

    let mut consumer = fixture.consume(&dead, 1).await;
    let letter = next(&mut consumer).await;

    assert_eq!(body(&letter), "a");
    let headers = &letter.received.message.headers;
    assert_eq!(headers.get_str("x-first-death-reason"), Some("maxlen"));
    assert_eq!(headers.get_str("x-first-death-queue"), Some(queue.as_str()));
}

pub(crate) async fn a_full_queue_refuses_until_there_is_room(fixture: &Fixture) {
    let queue = fixture.declare(&bounded(fixture, "orders")).await;
    let default = ExchangeName::default_exchange();
    let mut stored = Vec::new();
    let refusal = loop {
        let body = stored.len().to_string();
        match fixture.publish_to(&default, queue.as_str(), &body).await {
            Ok(()) => stored.push(body),
            Err(error) => break error,
        }
        assert!(stored.len() < 100, "a queue of two took a hundred");
    };
    assert!(matches!(refusal, PublishError::Refused { .. }), "{refusal:?}");
    assert!(stored.len() >= 2);

    let mut consumer = fixture.consume(&queue, 1).await;
    assert_eq!(super::take_all(&mut consumer, stored.len()).await, stored, "what was confirmed is there");

    let taken = timeout(PATIENCE, async {
        while fixture.publish_to(&default, queue.as_str(), "late").await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    assert!(taken.await.is_ok(), "an empty queue still refuses");
    assert_eq!(take(&mut consumer).await, "late");
}

pub(crate) async fn one_full_queue_of_a_fanout_refuses_though_others_store(fixture: &Fixture) {
    let events = fixture.exchange("events", ExchangeKind::Fanout).await;
    let full = fixture.declare(&bounded(fixture, "full")).await;
    let open = fixture.plain("open").await;
    fixture.bind(&events, &full, "").await;
    fixture.bind(&events, &open, "").await;
    let mut confirmed = 0;
    while fixture.publish_to(&events, "", "order").await.is_ok() {
        confirmed += 1;
        assert!(confirmed < 100, "a queue of two took a hundred");
    }

    assert_eq!(fixture.contents(&open).await.len(), confirmed + 1, "the refused one is stored here");
}

pub(crate) async fn refuses_and_dead_letters_beyond_the_length(fixture: &Fixture) {
    let dead = fixture.plain("dead").await;
    let queue = Queue {
        max_length: Some(1),
        overflow: Some(Overflow::RejectPublishDlx),
        dead_letter: to_queue(&dead),
        ..fixture.queue_of(QueueKind::Classic, "orders")
    };
    let queue = fixture.declare(&queue).await;
    fixture.send(&queue, &["a"]).await;

    let refusal = fixture.publish_to(&ExchangeName::default_exchange(), queue.as_str(), "b").await;

    assert!(matches!(refusal, Err(PublishError::Refused { .. })), "{refusal:?}");
    let mut consumer = fixture.consume(&dead, 1).await;
    assert_eq!(take(&mut consumer).await, "b");
}

fn bounded(fixture: &Fixture, name: &str) -> Queue {
    Queue { max_length: Some(2), overflow: Some(Overflow::RejectPublish), ..fixture.queue(name) }
}

fn to_queue(queue: &QueueName) -> Option<DeadLetter> {
    Some(DeadLetter {
        exchange: ExchangeName::default_exchange(),
        routing_key: Some(queue.to_string()),
        strategy: DeadLetterStrategy::AtMostOnce,
    })
}
