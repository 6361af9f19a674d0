//! Pulling: one message at a time, held until the channel closes.

use es_bus::{
    model::{Queue, QueueKind},
    transport::{ConsumeError, Pull, Settlement},
};
use tokio::time::timeout;

use super::{Fixture, PATIENCE, hold};

async fn pull(fixture: &Fixture, queue: &es_bus::name::QueueName) -> Box<dyn Pull> {
    fixture.transport.pull(queue).await.expect("a channel opens")
}

/// The text and the tag of the next message.
async fn next(pull: &mut Box<dyn Pull>) -> Option<(String, u64)> {
    let next = timeout(PATIENCE, pull.next()).await.expect("the broker answers").expect("no error");
    next.map(|it| (String::from_utf8_lossy(&it.received.message.body).into_owned(), it.tag))
}

async fn bodies(pull: &mut Box<dyn Pull>) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some((body, _)) = next(pull).await {
        bodies.push(body);
    }
    bodies
}

pub(crate) async fn sees_each_message_once_in_order_and_leaves_it(fixture: &Fixture) {
    let queue = fixture.plain("parked").await;
    let sent: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    for body in &sent {
        fixture.send(&queue, &[body]).await;
    }

    // Twice: what came back from the first look is looked at again.
    for _ in 0..2 {
        let mut look = pull(fixture, &queue).await;
        assert_eq!(bodies(&mut look).await, sent);
        fixture.wait_for_messages(&queue, 0).await;
        look.close().await.expect("the broker agrees");
        fixture.wait_for_messages(&queue, 300).await;
    }

    assert_eq!(fixture.contents(&queue).await, sent);
}

pub(crate) async fn acknowledges_what_was_chosen_and_returns_the_rest_in_order(fixture: &Fixture) {
    let queue = fixture.plain("parked").await;
    fixture.send(&queue, &["a", "b", "c", "d", "e"]).await;
    let mut look = pull(fixture, &queue).await;

    let mut tags = Vec::new();
    while let Some((body, tag)) = next(&mut look).await {
        if body == "b" || body == "d" {
            look.ack(tag).await.expect("the broker lives");
        }
        tags.push(tag);
    }
    look.close().await.expect("the broker agrees");

    assert_eq!(tags, [1, 2, 3, 4, 5]);
    fixture.wait_for_messages(&queue, 3).await;
    assert_eq!(fixture.contents(&queue).await, ["a", "c", "e"]);
}

pub(crate) async fn a_dropped_pull_gives_everything_back(fixture: &Fixture) {
    let queue = fixture.plain("parked").await;
    fixture.send(&queue, &["a", "b", "c"]).await;
    let mut look = pull(fixture, &queue).await;
    assert_eq!(next(&mut look).await.map(|(body, _)| body).as_deref(), Some("a"));
    assert_eq!(next(&mut look).await.map(|(body, _)| body).as_deref(), Some("b"));

    drop(look);

    fixture.wait_for_messages(&queue, 3).await;
    assert_eq!(fixture.contents(&queue).await, ["a", "b", "c"]);
}

pub(crate) async fn what_comes_meanwhile_stands_behind(fixture: &Fixture) {
    let queue = fixture.plain("parked").await;
    fixture.send(&queue, &["a", "b"]).await;
    let mut look = pull(fixture, &queue).await;
    assert_eq!(bodies(&mut look).await, ["a", "b"]);

    fixture.send(&queue, &["c"]).await;
    look.close().await.expect("the broker agrees");

    fixture.wait_for_messages(&queue, 3).await;
    assert_eq!(fixture.contents(&queue).await, ["a", "b", "c"]);
}

pub(crate) async fn what_is_pulled_says_that_it_was_out_before(fixture: &Fixture) {
    let queue = fixture.plain("parked").await;
    fixture.send(&queue, &["a", "b"]).await;
    let mut look = pull(fixture, &queue).await;
    assert!(next(&mut look).await.is_some());
    look.close().await.expect("the broker agrees");
    fixture.wait_for_messages(&queue, 2).await;

    let mut look = pull(fixture, &queue).await;
    let mut seen = Vec::new();
    while let Some(it) = look.next().await.expect("no error") {
        seen.push(it.received.redelivered);
    }

    assert_eq!(seen, [true, false]);
}

pub(crate) async fn there_is_nothing_to_pull_from_a_missing_queue(fixture: &Fixture) {
    let missing = fixture.queue("missing").name;
    let mut look = pull(fixture, &missing).await;

    let error = timeout(PATIENCE, look.next()).await.expect("the broker answers").expect_err("an error");

    assert!(matches!(&error, ConsumeError::NoQueue { queue, .. } if queue == missing.as_str()), "{error:?}");
    // The channel is closed by now; that harms nobody.
    let _ = look.close().await;
    let queue = fixture.plain("there").await;
    assert_eq!(next(&mut pull(fixture, &queue).await).await, None);
}

pub(crate) async fn a_consumer_has_what_is_pulled_only_when_it_is_back(fixture: &Fixture) {
    let queue = fixture.plain("parked").await;
    fixture.send(&queue, &["a"]).await;
    let mut look = pull(fixture, &queue).await;
    assert!(next(&mut look).await.is_some());
    let mut consumer = fixture.consume(&queue, 1).await;

    look.close().await.expect("the broker agrees");

    let [delivery] = hold(&mut consumer, 1).await.try_into().expect("one");
    assert!(delivery.settle(Settlement::Ack));
    fixture.wait_for_messages(&queue, 0).await;
}

pub(crate) async fn close_says_when_the_connection_was_lost(fixture: &Fixture) {
    let queue = fixture.plain("parked").await;
    fixture.send(&queue, &["a"]).await;
    let mut look = pull(fixture, &queue).await;
    let (_, tag) = next(&mut look).await.expect("a message");

    fixture.transport.close().await;

    assert!(matches!(look.ack(tag).await, Err(ConsumeError::Interrupted { .. })));
    assert!(matches!(look.next().await, Err(ConsumeError::Interrupted { .. })));
    assert!(matches!(look.close().await, Err(ConsumeError::Interrupted { .. })));
    let error = fixture.transport.pull(&queue).await.err().expect("no connection, no channel");
    assert!(matches!(error, ConsumeError::Interrupted { .. }), "{error:?}");
}

pub(crate) async fn an_exclusive_queue_is_of_one_connection(fixture: &Fixture) {
    let own = Queue { exclusive: true, durable: false, ..fixture.queue_of(QueueKind::Classic, "own") };
    let own = fixture.declare(&own).await;
    fixture
        .declare(&Queue {
            exclusive: true,
            durable: false,
            ..Queue::durable(own.clone(), QueueKind::Classic)
        })
        .await;
    fixture.send(&own, &["a"]).await;

    let mut look = pull(fixture, &own).await;
    assert_eq!(next(&mut look).await.map(|(body, _)| body).as_deref(), Some("a"));

    // To pull from it does not keep it: the broker counts no consumer.
    look.close().await.expect("the broker agrees");
    fixture.transport.delete_queue(&own).await.expect("its owner may");
    assert_eq!(fixture.status(&own).await, None);
}
