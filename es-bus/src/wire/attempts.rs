//! How far each handler of a group has come with a delivery, as its headers tell.
//!
//! Headers are anybody's: eventsource-py's retry copies ours to every group, a replay brings old ones
//! back, a publisher can write what he likes. So counts are obeyed only by the queue that they name,
//! and not after a replay that they do not know of; what makes no sense counts as nothing.

use std::borrow::Cow;

use super::{error::cut, identify::is_marked, names};
use crate::message::{Headers, Received, Value};

/// A handler that a copy is for, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlerAttempt {
    /// The name of the handler.
    pub handler: String,
    /// How many attempts failed so far.
    pub attempt: u32,
    /// Before when it must not run, in milliseconds since the Unix epoch; after a *retry after*.
    pub due_ms: Option<u64>,
}

/// More handlers than any group has; what stands beyond is not read.
const MAX_HANDLERS: usize = 256;

/// The handlers that a delivery from `queue` is for. Empty means: every handler that matches, at
/// attempt 0.
#[must_use]
pub fn attempts(received: &Received, queue: &str) -> Vec<HandlerAttempt> {
    let headers = &received.message.headers;
    let Some(list) = headers.get(names::ES_ATTEMPTS).and_then(Value::as_table) else { return Vec::new() };
    if list.get_str(names::ATTEMPTS_QUEUE) != Some(queue) || !knows_of_replay(headers) {
        return Vec::new();
    }
    let Some(handlers) = list.get(names::ATTEMPTS_HANDLERS).and_then(Value::as_table) else {
        return Vec::new();
    };
    let due = list.get(names::ATTEMPTS_DUE).and_then(Value::as_table);
    handlers
        .iter()
        .take(MAX_HANDLERS)
        .map(|(handler, attempt)| HandlerAttempt {
            handler: handler.to_owned(),
            attempt: count(Some(attempt)),
            due_ms: due.and_then(|due| u64::try_from(due.get_int(handler)?).ok()),
        })
        .collect()
}

/// Writes the list that [`attempts`] reads; nothing when it would say nothing.
pub(super) fn write_attempts(headers: &mut Headers, queue: &str, handlers: &[HandlerAttempt]) {
    if handlers.is_empty() {
        return;
    }
    let attempts: Headers = handlers.iter().map(|it| (it.handler.clone(), it.attempt)).collect();
    let due: Headers = handlers
        .iter()
        .filter_map(|it| Some((it.handler.clone(), i64::try_from(it.due_ms?).unwrap_or(i64::MAX))))
        .collect();
    let mut list = Headers::new();
    list.insert(names::ATTEMPTS_QUEUE, queue);
    list.insert(names::ATTEMPTS_HANDLERS, attempts);
    if !due.is_empty() {
        list.insert(names::ATTEMPTS_DUE, due);
    }
    headers.insert(names::ES_ATTEMPTS, list);
}

/// How often a delivery from `queue` has waited because nobody knew it.
#[must_use]
pub fn waits(received: &Received, queue: &str) -> u32 {
    let headers = &received.message.headers;
    if is_marked(headers, queue) && knows_of_replay(headers) {
        count(headers.get(names::ES_WAITS))
    } else {
        0
    }
}

/// How many processes ended while they had a delivery from `queue` in hand.
#[must_use]
pub fn crashes(received: &Received, queue: &str) -> u32 {
    let headers = &received.message.headers;
    if is_marked(headers, queue) && knows_of_replay(headers) {
        count(headers.get(names::ES_CRASHES))
    } else {
        0
    }
}

/// How many attempts failed, as eventsource-py counts them: for a group that it shares.
#[must_use]
pub fn retry_count(received: &Received) -> u32 {
    count(received.message.headers.get(names::RETRY_COUNT))
}

/// Whether our own headers were written after the last replay, or there was none.
pub(super) fn knows_of_replay(headers: &Headers) -> bool {
    headers
        .get(names::REPLAYED_FROM_DLQ)
        .is_none_or(|replay| headers.get_str(names::ES_REPLAYED) == Some(&*replay_mark(replay)))
}

/// What tells one replay from the next: its time, as far as anybody wrote one.
pub(super) fn replay_mark(replay: &Value) -> Cow<'_, str> {
    cut(replay.as_str().unwrap_or("?"), 64)
}

fn count(value: Option<&Value>) -> u32 {
    let number = value.and_then(Value::as_int).unwrap_or(0);
    u32::try_from(number.clamp(0, i64::from(u32::MAX))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{message::Message, wire::testing::received};

    const QUEUE: &str = "events.projections";

    fn with(headers: Headers) -> Received {
        received(Message { headers, ..Message::default() })
    }

    fn list(queue: &str, handlers: impl Into<Value>) -> Headers {
        let mut list = Headers::new();
        list.insert("queue", queue);
        list.insert("handlers", handlers);
        [(names::ES_ATTEMPTS, list)].into_iter().collect()
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let handlers = vec![
            HandlerAttempt { handler: "audit".into(), attempt: 2, due_ms: Some(1_767_323_045_678) },
            HandlerAttempt { handler: "project".into(), attempt: 70_000, due_ms: None },
        ];
        let mut headers = Headers::new();

        write_attempts(&mut headers, QUEUE, &handlers);

        assert_eq!(attempts(&with(headers.clone()), QUEUE), handlers);
        assert_eq!(attempts(&with(headers), "events.other"), []);
    }

    #[test]
    fn a_count_that_is_none_is_zero() {
        for (value, expected) in [
            (Value::from("many"), 0),
            (Value::from(-5_i64), 0),
            (Value::F64(2.0), 0),
            (Value::Table(Headers::new()), 0),
            (Value::Void, 0),
            (Value::U8(3), 3),
            (Value::from("3"), 3),
            (Value::I64(i64::MAX), u32::MAX),
        ] {
            let headers: Headers = [(names::RETRY_COUNT, value.clone())].into_iter().collect();
            assert_eq!(retry_count(&with(headers)), expected, "{value:?}");

            let handlers: Headers = [("project", value.clone())].into_iter().collect();
            assert_eq!(attempts(&with(list(QUEUE, handlers)), QUEUE)[0].attempt, expected, "{value:?}");
        }
    }

    #[test]
    fn a_list_that_makes_no_sense_is_none() {
        for headers in [
            [(names::ES_ATTEMPTS, Value::from("project"))].into_iter().collect(),
            list(QUEUE, "project"),
            list(QUEUE, Headers::new()),
            Headers::new(),
        ] {
            assert_eq!(attempts(&with(headers), QUEUE), []);
        }
    }

    #[test]
    fn reads_no_more_handlers_than_a_group_can_have() {
        let handlers: Headers = (0..10_000).map(|n| (format!("handler-{n}"), 1_u32)).collect();

        assert_eq!(attempts(&with(list(QUEUE, handlers)), QUEUE).len(), MAX_HANDLERS);
    }

    #[test]
    fn a_replay_by_somebody_else_voids_the_list() {
        let mut headers = list(QUEUE, [("project", 2_u32)].into_iter().collect::<Headers>());
        headers.insert(names::ES_QUEUE, QUEUE);
        headers.insert(names::ES_WAITS, 3_u32);
        headers.insert(names::ES_CRASHES, 2_u32);
        assert_eq!(waits(&with(headers.clone()), QUEUE), 3);
        assert_eq!(crashes(&with(headers.clone()), QUEUE), 2);
        assert_eq!(crashes(&with(headers.clone()), "events.other"), 0);

        headers.insert(names::REPLAYED_FROM_DLQ, "2026-11-21T08:44:57.711763+00:00");
        assert_eq!(attempts(&with(headers.clone()), QUEUE), []);
        assert_eq!(waits(&with(headers.clone()), QUEUE), 0);
        assert_eq!(crashes(&with(headers.clone()), QUEUE), 0);

        headers.insert(names::ES_REPLAYED, "2026-11-21T08:44:57.711763+00:00");
        assert_eq!(attempts(&with(headers.clone()), QUEUE).len(), 1);

        headers.insert(names::REPLAYED_FROM_DLQ, "2026-11-22T00:00:00+00:00");
        assert_eq!(attempts(&with(headers), QUEUE), []);
    }
}
