//! Consumers: order, prefetch, settling, and how a stream ends.

use es_bus::{
    message::Value,
    model::{Queue, QueueKind},
    transport::{ConsumeError, ConsumeRequest, Delivery, Settlement},
};
use tokio::time::timeout;

use super::{Fixture, PATIENCE, body, hold, next, take, take_all, text};

pub(crate) async fn keeps_the_order(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    let sent: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    for body in &sent {
        fixture.send(&queue, &[body]).await;
    }

    assert_eq!(fixture.contents(&queue).await, sent);
}

pub(crate) async fn is_bounded_by_the_prefetch(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    fixture.send(&queue, &["a", "b", "c", "d", "e"]).await;

    let mut consumer = fixture.consume(&queue, 2).await;
    let _held = hold(&mut consumer, 2).await;

    fixture.wait_for_messages(&queue, 3).await;
}

pub(crate) async fn an_ack_makes_room_for_the_next(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    fixture.send(&queue, &["a", "b", "c"]).await;
    let mut consumer = fixture.consume(&queue, 1).await;

    assert_eq!(take_all(&mut consumer, 3).await, ["a", "b", "c"]);
    fixture.wait_for_messages(&queue, 0).await;
}

pub(crate) async fn two_consumers_share(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    let mut one = fixture.consume(&queue, 1).await;
    let mut two = fixture.consume(&queue, 1).await;
    fixture.send(&queue, &["a", "b", "c"]).await;

    let (first, second) = (next(&mut one).await, next(&mut two).await);
    fixture.wait_for_messages(&queue, 1).await;
    let mut bodies = vec![body(&first), body(&second)];
    assert!(second.settle(Settlement::Ack));
    bodies.push(take(&mut two).await);

    bodies.sort();
    assert_eq!(bodies, ["a", "b", "c"]);
}

pub(crate) async fn higher_priorities_come_first(fixture: &Fixture) {
    let queue = Queue { max_priority: Some(10), ..fixture.queue_of(QueueKind::Classic, "orders") };
    let queue = fixture.declare(&queue).await;
    for (body, priority) in
        [("none", None), ("low", Some(1)), ("high", Some(10)), ("low too", Some(1)), ("beyond", Some(99))]
    {
        let mut message = text(body);
        message.properties.priority = priority;
        fixture.send_message(&queue, message).await;
    }
    fixture.wait_for_messages(&queue, 5).await;

    assert_eq!(fixture.contents(&queue).await, ["high", "beyond", "low", "low too", "none"]);
}

pub(crate) async fn a_requeued_message_comes_back_redelivered(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    fixture.send(&queue, &["a", "b", "c"]).await;
    let mut consumer = fixture.consume(&queue, 1).await;

    let first = next(&mut consumer).await;
    assert!(!first.received.redelivered);
    assert!(first.settle(Settlement::Requeue));

    let mut seen = Vec::new();
    for _ in 0..3 {
        let delivery = next(&mut consumer).await;
        seen.push((body(&delivery), delivery.received.redelivered));
        assert!(delivery.settle(Settlement::Ack));
    }
    if fixture.kind == QueueKind::Quorum {
        // A quorum queue writes it to its log again, and others may go first meanwhile.
        seen.sort();
    }
    let expected = [("a", true), ("b", false), ("c", false)];
    assert_eq!(seen, expected.map(|(body, redelivered)| (body.to_owned(), redelivered)));
}

pub(crate) async fn close_gives_back_in_order(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    fixture.send(&queue, &["a", "b", "c", "d", "e"]).await;
    let mut consumer = fixture.consume(&queue, 3).await;
    let _held = hold(&mut consumer, 3).await;

    consumer.close().await;
    fixture.wait_for_messages(&queue, 5).await;

    let mut consumer = fixture.consume(&queue, 10).await;
    let all = hold(&mut consumer, 5).await;
    let seen: Vec<_> = all.iter().map(|delivery| (body(delivery), delivery.received.redelivered)).collect();
    let expected = [("a", true), ("b", true), ("c", true), ("d", false), ("e", false)];
    assert_eq!(seen, expected.map(|(body, redelivered)| (body.to_owned(), redelivered)));
}

/// What a tool relies on that looks at a queue and puts it back: also for more messages than one
/// consumer holds, and again for those that were looked at before.
pub(crate) async fn consumers_closed_one_after_the_other_give_back_in_order(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    let sent: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    for body in &sent {
        fixture.send(&queue, &[body]).await;
    }

    for _ in 0..2 {
        let (mut consumers, mut seen) = (Vec::new(), Vec::new());
        for size in [40, 160, 100] {
            let mut consumer = fixture.consume(&queue, size).await;
            seen.extend(hold(&mut consumer, usize::from(size)).await.iter().map(body));
            consumers.push(consumer);
        }
        for consumer in consumers {
            consumer.close().await;
        }
        assert_eq!(seen, sent);
        fixture.wait_for_messages(&queue, 300).await;
    }

    assert_eq!(fixture.contents(&queue).await, sent);
}

pub(crate) async fn a_settlement_after_close_says_so(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    fixture.send(&queue, &["a"]).await;
    let mut consumer = fixture.consume(&queue, 1).await;
    let held = next(&mut consumer).await;

    consumer.close().await;

    assert!(!held.settle(Settlement::Ack));
    fixture.wait_for_messages(&queue, 1).await;
}

pub(crate) async fn cancel_ends_the_stream_and_leaves_the_rest(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    fixture.send(&queue, &["a", "b", "c", "d"]).await;
    let mut consumer = fixture.consume(&queue, 2).await;
    let held = hold(&mut consumer, 2).await;

    consumer.cancel().await;
    let end = timeout(PATIENCE, consumer.next()).await.expect("the stream ends");
    assert!(end.is_none(), "a cancelled stream ends without an error");
    for delivery in held {
        assert!(delivery.settle(Settlement::Ack), "what is held may still be settled");
    }
    consumer.close().await;

    fixture.wait_for_messages(&queue, 2).await;
    fixture.wait_for_consumers(&queue, 0).await;
    assert_eq!(fixture.contents(&queue).await, ["c", "d"]);
}

pub(crate) async fn a_delivery_knows_when_its_channel_is_gone(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    fixture.send(&queue, &["a", "b"]).await;
    let mut consumer = fixture.consume(&queue, 2).await;
    let held = hold(&mut consumer, 2).await;
    let lost: Vec<_> = held.iter().map(Delivery::lost).collect();

    consumer.cancel().await;
    assert!(!lost[0].is_cancelled(), "the channel outlives its consumer");
    consumer.close().await;

    for lost in &lost {
        timeout(PATIENCE, lost.cancelled()).await.expect("the channel is gone");
    }
    for delivery in held {
        assert!(!delivery.settle(Settlement::Ack));
    }
    fixture.wait_for_messages(&queue, 2).await;
}

pub(crate) async fn a_deleted_queue_ends_its_consumer(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    fixture.send(&queue, &["a"]).await;
    let mut consumer = fixture.consume(&queue, 5).await;
    let held = next(&mut consumer).await;

    fixture.transport.delete_queue(&queue).await.expect("the queue is deleted");

    let error =
        timeout(PATIENCE, consumer.next()).await.expect("the stream says so").expect("an error first");
    assert!(matches!(error, Err(ConsumeError::Cancelled { queue: name }) if name == queue.as_str()));
    assert!(timeout(PATIENCE, consumer.next()).await.expect("the stream ends").is_none());
    // Whether the broker still takes it is all the same; it must not hang or panic.
    let _ = held.settle(Settlement::Ack);
}

pub(crate) async fn there_is_no_consumer_of_a_missing_queue(fixture: &Fixture) {
    let missing = fixture.queue("missing").name;

    let error = fixture.transport.consume(fixture.request(&missing, 1)).await.expect_err("an error");

    assert!(matches!(error, ConsumeError::NoQueue { .. }), "{error:?}");
}

pub(crate) async fn one_active_consumer_at_a_time(fixture: &Fixture) {
    let mut queue = fixture.queue("orders");
    queue.arguments.insert("x-single-active-consumer", Value::Bool(true));
    let queue = fixture.declare(&queue).await;
    let mut active = fixture.consume(&queue, 1).await;
    let mut waiting = fixture.consume(&queue, 1).await;
    fixture.send(&queue, &["a", "b", "c", "d"]).await;

    assert_eq!(take_all(&mut active, 3).await, ["a", "b", "c"]);
    let held = next(&mut active).await;
    active.close().await;
    drop(held);

    assert_eq!(take(&mut waiting).await, "d");
}

pub(crate) async fn an_exclusive_consumer_is_alone(fixture: &Fixture) {
    let queue = fixture.plain("orders").await;
    let request = |exclusive| ConsumeRequest { exclusive, ..fixture.request(&queue, 1) };
    let alone = fixture.transport.consume(request(true)).await.expect("the first is alone");

    let error = fixture.transport.consume(request(false)).await.expect_err("an error");
    assert!(matches!(error, ConsumeError::Refused { .. }), "{error:?}");

    alone.close().await;
    let _shared = fixture.transport.consume(request(false)).await.expect("it is free again");
    let error = fixture.transport.consume(request(true)).await.expect_err("an error");
    assert!(matches!(error, ConsumeError::Refused { .. }), "{error:?}");
}

pub(crate) async fn an_auto_delete_queue_goes_with_its_last_consumer(fixture: &Fixture) {
    let queue = Queue { auto_delete: true, ..fixture.queue_of(QueueKind::Classic, "fleeting") };
    let queue = fixture.declare(&queue).await;
    let (one, two) = (fixture.consume(&queue, 1).await, fixture.consume(&queue, 1).await);

    one.close().await;
    assert!(fixture.status(&queue).await.is_some());
    two.close().await;

    let gone = timeout(PATIENCE, async {
        while fixture.status(&queue).await.is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    assert!(gone.await.is_ok(), "the queue is still there");
}
