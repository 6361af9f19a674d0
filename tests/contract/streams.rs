//! Streams: read from any place, by any number of readers, and kept.

use std::time::{Duration, SystemTime};

use es_bus::{
    model::{Queue, QueueKind, StreamOffset},
    name::QueueName,
    transport::{ConsumeRequest, Consumer, DeclareError, Settlement},
};
use tokio::time::timeout;

use super::{Fixture, body, hold, next, take, take_all};

async fn stream(fixture: &Fixture, bodies: &[&str]) -> QueueName {
    let stream = fixture.declare(&fixture.queue_of(QueueKind::Stream, "log")).await;
    fixture.send(&stream, bodies).await;
    stream
}

async fn read(fixture: &Fixture, stream: &QueueName, offset: StreamOffset) -> Consumer {
    let request = ConsumeRequest { offset: Some(offset), ..fixture.request(stream, 10) };
    fixture.transport.consume(request).await.expect("the reader starts")
}

pub(crate) async fn a_stream_is_read_again_from_any_place(fixture: &Fixture) {
    let stream = stream(fixture, &["a", "b", "c"]).await;

    for (offset, expected) in [
        (StreamOffset::First, ["a", "b", "c"].as_slice()),
        (StreamOffset::Offset(1), &["b", "c"]),
        (StreamOffset::Timestamp(1), &["a", "b", "c"]),
    ] {
        let mut reader = read(fixture, &stream, offset).await;
        assert_eq!(take_all(&mut reader, expected.len()).await, expected, "{offset}");
        reader.close().await;
    }
    // What stands last came alone.
    let mut reader = read(fixture, &stream, StreamOffset::Last).await;
    assert_eq!(take(&mut reader).await, "c");
}

pub(crate) async fn a_delivery_of_a_stream_says_where_it_stands(fixture: &Fixture) {
    let stream = stream(fixture, &["a", "b"]).await;
    let mut reader = read(fixture, &stream, StreamOffset::First).await;

    for offset in 0..2 {
        let delivery = next(&mut reader).await;
        assert_eq!(delivery.received.message.headers.get_int("x-stream-offset"), Some(offset));
        assert!(!delivery.received.redelivered);
        delivery.settle(Settlement::Ack);
    }
}

pub(crate) async fn next_is_what_comes_from_then_on(fixture: &Fixture) {
    let stream = stream(fixture, &["a", "b"]).await;
    let mut reader = read(fixture, &stream, StreamOffset::Next).await;

    fixture.send(&stream, &["c"]).await;

    assert_eq!(take(&mut reader).await, "c");
}

pub(crate) async fn an_offset_that_is_not_there_yet_is_waited_for(fixture: &Fixture) {
    let stream = stream(fixture, &["a"]).await;
    let mut reader = read(fixture, &stream, StreamOffset::Offset(2)).await;

    fixture.send(&stream, &["b", "c"]).await;

    assert_eq!(take(&mut reader).await, "c");
}

pub(crate) async fn whatever_is_said_of_it_makes_room_and_brings_nothing_back(fixture: &Fixture) {
    let stream = stream(fixture, &["a", "b", "c", "d"]).await;
    let request = ConsumeRequest { offset: Some(StreamOffset::First), ..fixture.request(&stream, 1) };
    let mut reader = fixture.transport.consume(request).await.expect("the reader starts");

    let mut seen = Vec::new();
    for settlement in [Settlement::Requeue, Settlement::Reject, Settlement::Ack, Settlement::Ack] {
        let delivery = next(&mut reader).await;
        seen.push(body(&delivery));
        assert!(delivery.settle(settlement));
    }

    assert_eq!(seen, ["a", "b", "c", "d"]);
    assert!(timeout(Duration::from_millis(300), reader.next()).await.is_err(), "nothing comes again");
    // The count is late.
    fixture.wait_for_messages(&stream, 4).await;
}

pub(crate) async fn the_prefetch_bounds_a_reader(fixture: &Fixture) {
    let stream = stream(fixture, &["a", "b", "c"]).await;
    let request = ConsumeRequest { offset: Some(StreamOffset::First), ..fixture.request(&stream, 2) };
    let mut reader = fixture.transport.consume(request).await.expect("the reader starts");
    let mut held = hold(&mut reader, 2).await;

    assert!(timeout(Duration::from_millis(300), reader.next()).await.is_err(), "two at once");
    held.remove(0).settle(Settlement::Ack);

    assert_eq!(take(&mut reader).await, "c");
}

pub(crate) async fn readers_of_a_stream_share_nothing(fixture: &Fixture) {
    let stream = stream(fixture, &["a", "b"]).await;
    let mut one = read(fixture, &stream, StreamOffset::First).await;
    let mut two = read(fixture, &stream, StreamOffset::First).await;

    assert_eq!(take_all(&mut one, 2).await, ["a", "b"]);
    assert_eq!(take_all(&mut two, 2).await, ["a", "b"]);
}

pub(crate) async fn a_deleted_stream_ends_its_reader(fixture: &Fixture) {
    let stream = stream(fixture, &["a"]).await;
    let mut reader = read(fixture, &stream, StreamOffset::First).await;
    assert_eq!(take(&mut reader).await, "a");

    fixture.transport.delete_queue(&stream).await.expect("deleted");

    let end = timeout(super::PATIENCE, reader.next()).await.expect("it ends in time");
    assert!(matches!(end, None | Some(Err(_))), "{end:?}");
}

pub(crate) async fn a_stream_is_never_idle_with_something_in_it(fixture: &Fixture) {
    let stream = stream(fixture, &["a"]).await;
    fixture.wait_for_messages(&stream, 1).await;

    let refused = fixture.transport.delete_idle_queue(&stream, false).await;

    assert!(matches!(refused, Err(DeclareError::Refused { .. })), "{refused:?}");
    assert_eq!(fixture.status(&stream).await.map(|status| status.messages), Some(1));
}

pub(crate) async fn refuses_what_a_stream_cannot_be(fixture: &Fixture) {
    let plain = fixture.queue_of(QueueKind::Stream, "log");
    for wrong in [
        Queue { exclusive: true, ..plain.clone() },
        Queue { durable: false, ..plain.clone() },
        Queue { auto_delete: true, ..plain.clone() },
        Queue { single_active_consumer: true, ..plain.clone() },
        Queue { message_ttl: Some(Duration::from_secs(1)), ..plain.clone() },
        Queue { max_length: Some(5), ..plain.clone() },
        Queue { max_priority: Some(5), ..plain.clone() },
    ] {
        assert!(fixture.transport.declare_queue(&wrong).await.is_err(), "{wrong:?}");
    }

    let aged = Queue { max_age: Some(Duration::from_secs(7200)), max_length_bytes: Some(1 << 30), ..plain };
    fixture.declare(&aged).await;
    fixture.declare(&aged).await;
    let other = Queue { max_age: Some(Duration::from_secs(60)), ..aged };
    let error = fixture.transport.declare_queue(&other).await.expect_err("it is there with another age");
    assert!(
        matches!(&error, DeclareError::Mismatch { field: Some(field), .. } if field == "x-max-age"),
        "{error}"
    );
}

pub(crate) async fn a_time_that_has_not_come_waits_for_what_comes(fixture: &Fixture) {
    let stream = stream(fixture, &["a"]).await;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let mut reader = read(fixture, &stream, StreamOffset::Timestamp(now + 1000)).await;

    assert!(timeout(Duration::from_millis(300), reader.next()).await.is_err(), "it is older");
    fixture.send(&stream, &["b"]).await;

    assert_eq!(take(&mut reader).await, "b");
}
