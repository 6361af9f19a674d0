//! Headers: read by the worker, carried into its copies, and read back from those.

use es_bus::{
    message::{Message, Received},
    transport::amqp::there_and_back,
    wire::{
        DeadLetterAuthor, FailureInfo, HandlerAttempt, Source, attempts, check_sizes, drop_foreign,
        header_frame_len, header_limit, lane, names, origin, provenance, retry_count, waits,
    },
};
use time::macros::datetime;

use super::input::{DLQ, Input, QUEUE};

const FRAME_MAX: usize = 131_072;
const NOW: time::OffsetDateTime = datetime!(2026-01-02 03:04:05.678901 UTC);

/// One delivery through every copy that a worker may make of it.
pub fn headers(data: &[u8]) {
    let mut input = Input::new(data);
    let handlers = handlers(&mut input);
    let text = input.short();
    let failure = FailureInfo { reason: &text, error_type: &text, text: (&*text).into() };
    let received = input.received();
    let _ = (lane(&received), retry_count(&received), waits(&received, QUEUE));
    assert!(attempts(&received, QUEUE).len() <= 256);
    if let Ok(back) = there_and_back(&received.message) {
        // By their texts, as a float that is no number is not itself.
        assert_eq!(format!("{back:?}"), format!("{:?}", received.message));
    }

    let retry = |received: &Received| {
        let origin = origin(received, QUEUE);
        let source = Source { received, origin: &origin, queue: QUEUE, now: NOW };
        source.retry(&handlers, "1s", 1000, &failure, "publish-1")
    };
    let first = retry(&received);
    holds(&received, &first, &handlers);
    let second = retry(&redelivered(first));
    let third = retry(&redelivered(second.clone()));
    assert_eq!(format!("{second:?}"), format!("{third:?}"), "a copy of a copy grows no more");

    let origin_of = origin(&received, QUEUE);
    let source = Source { received: &received, origin: &origin_of, queue: QUEUE, now: NOW };
    let waiting = source.wait(&handlers, 7, "30s", 30_000, names::REASON_HANDLER_GONE, "publish-1");
    holds(&received, &waiting, &handlers);
    assert_eq!(waits(&redelivered(waiting), QUEUE), 7);

    let dead = source.dead_letter(Some("book"), 3, &failure, "entry-1", "publish-1");
    holds(&received, &dead, &[]);
    let dead = Received {
        message: dead,
        exchange: "events_dlq".to_owned(),
        routing_key: QUEUE.to_owned(),
        redelivered: false,
    };
    let found = provenance(&dead, DLQ);
    assert_eq!(found.author, DeadLetterAuthor::EsBus);
    assert_eq!(found.queue.as_deref(), Some(QUEUE));
    assert_eq!(found.handlers, ["book"]);
    assert_eq!(found.origin.routing_key, origin_of.routing_key);

    let source = Source { received: &dead, origin: &found.origin, queue: QUEUE, now: NOW };
    let replayed = redelivered(source.replay(&["book"], "publish-2"));
    assert_eq!(
        attempts(&replayed, QUEUE),
        [HandlerAttempt { handler: "book".into(), attempt: 0, due_ms: None }]
    );
    assert_eq!(waits(&replayed, QUEUE), 0);
    assert!(origin(&replayed, QUEUE).replayed);
}

/// The handlers that a copy is for: a few, by name, each once.
fn handlers(input: &mut Input<'_>) -> Vec<HandlerAttempt> {
    let mut handlers: Vec<HandlerAttempt> = Vec::new();
    for _ in 0..input.byte() % 6 {
        let (handler, attempt) = (input.short(), input.u32());
        let due_ms = (input.byte() % 2 == 1).then(|| u64::from(input.u32()));
        handlers.push(HandlerAttempt { handler, attempt, due_ms });
    }
    handlers.sort_by(|a, b| a.handler.cmp(&b.handler));
    handlers.dedup_by(|a, b| a.handler == b.handler);
    handlers
}

/// A copy says what it was told, and fits whatever the original was.
fn holds(original: &Received, copy: &Message, handlers: &[HandlerAttempt]) {
    assert_eq!(copy.body, original.message.body);
    assert_eq!(copy.properties.message_id, original.message.properties.message_id);
    assert_eq!(copy.properties.user_id, None, "the broker refuses another's");
    for name in ["CC", "BCC", "x-death", "x-delivery-count"] {
        assert_eq!(copy.headers.get(name), None, "{name}");
    }
    assert_eq!(attempts(&redelivered(copy.clone()), QUEUE), handlers);

    let mut fitted = copy.clone();
    drop_foreign(&mut fitted, header_limit(FRAME_MAX)).expect("our own headers fit");
    assert!(header_frame_len(&fitted) <= header_limit(FRAME_MAX));
    check_sizes("events.ledger.retry", &original.routing_key, &fitted, FRAME_MAX, usize::MAX)
        .expect("all that is short was short");
    assert_eq!(attempts(&redelivered(fitted), QUEUE), handlers);

    let mut tiny = copy.clone();
    if drop_foreign(&mut tiny, header_limit(4096)).is_ok() {
        assert!(header_frame_len(&tiny) <= header_limit(4096));
        assert_eq!(attempts(&redelivered(tiny), QUEUE), handlers);
    }
}

/// What comes back when a copy has waited.
fn redelivered(mut message: Message) -> Received {
    message.properties.expiration = None;
    Received {
        message,
        exchange: format!("{QUEUE}.in"),
        routing_key: "Order.OrderPlaced".to_owned(),
        redelivered: false,
    }
}
