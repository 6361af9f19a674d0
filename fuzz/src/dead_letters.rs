//! Dead letters: whoever wrote them, they are listed, shown and made ready to be replayed.

use es_bus::{
    dead_letters::{Filter, FullDeadLetter},
    wire::{Source, attempts, check_sizes, dead_letter_id, drop_foreign, header_limit, origin, provenance},
};
use time::macros::datetime;

use super::input::{DLQ, Input};

const FRAME_MAX: usize = 131_072;

/// A message in a dead-letter queue, read as a tool reads it and replayed as a tool replays it.
pub fn dead_letters(data: &[u8]) {
    let received = Input::new(data).received();
    let found = provenance(&received, DLQ);
    assert!(found.origin.routing_key.len() <= 255 && found.origin.exchange.len() <= 255);
    assert!(found.queue.as_deref().is_none_or(|queue| queue.len() <= 255));
    let id = dead_letter_id(&received, &found);
    assert!(!id.is_empty() && id.len() <= 255);

    let full = FullDeadLetter::of(received.clone(), 0, DLQ);
    assert_eq!(full.letter.id, id);
    assert!(Filter::one(&*id).matches(&full.letter));
    let json = serde_json::to_string(&full).expect("it can be exported");
    serde_json::from_str::<serde_json::Value>(&json).expect("and read again");

    let Some(queue) = found.queue.as_deref() else { return };
    let handlers: Vec<&str> = found.handlers.iter().map(String::as_str).collect();
    let now = datetime!(2026-01-02 03:04:05 UTC);
    let source = Source { received: &received, origin: &found.origin, queue, now };
    let mut copy = source.replay(&handlers, "publish-1");
    if drop_foreign(&mut copy, header_limit(FRAME_MAX)).is_err()
        || check_sizes("", &found.origin.routing_key, &copy, FRAME_MAX, usize::MAX).is_err()
    {
        // A handler with a name of kilobytes: told to whoever wants to replay it.
        assert!(handlers.iter().any(|handler| handler.len() > 255));
        return;
    }
    let mut replayed = received;
    (replayed.message, replayed.exchange) = (copy, format!("{queue}.in"));
    let mut expected = handlers;
    expected.sort_unstable();
    expected.dedup();
    let list = attempts(&replayed, queue);
    assert_eq!(list.iter().map(|it| &*it.handler).collect::<Vec<_>>(), expected);
    assert!(list.iter().all(|it| it.attempt == 0));
    assert_eq!(origin(&replayed, queue).routing_key, found.origin.routing_key);
}
