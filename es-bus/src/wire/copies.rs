//! The copies of a delivery: for a retry queue, for the queue of suspects, for the dead-letter
//! queue, for a replay.
//!
//! A copy has the body, the properties and the headers of what came in, so that a handler cannot
//! tell it from the first delivery. Three things cannot go along as they are: what the broker would
//! refuse or route by (`user_id`, CC, BCC), what would end the copy's life early (`expiration`), and
//! what the broker counts itself, differently by version (`x-death` and its kin). They are kept under
//! `x-es-orig-…`, once: what stands there on later copies is about our own retry queues.
//!
//! Our own headers are written anew on each copy, so that the thousandth is as large as the second.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::{
    attempts::{HandlerAttempt, attempts, replay_mark, waits, write_attempts},
    error::cut,
    identify::{Origin, is_marked},
    names,
    time::isoformat,
};
use crate::message::{Headers, Message, Received, Text, Value};

/// The longest error text that a header carries, in bytes. Headers have to fit one frame, or the
/// broker closes the whole connection.
pub(super) const MAX_ERROR_LEN: usize = 4096;

/// What is said about a failure in headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureInfo<'a> {
    /// What kind of failure: `FailureKind::as_str`, or one of the `REASON_` words in
    /// [`names`].
    pub reason: &'a str,
    /// The name of the error's type.
    pub error_type: &'a str,
    /// The error's text; cut to 4 KiB when it is written.
    pub text: Cow<'a, str>,
}

/// What every copy of a delivery is made of.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The delivery.
    pub received: &'a Received,
    /// Where it came from.
    pub origin: &'a Origin,
    /// The queue that it was delivered from; the group's own.
    pub queue: &'a str,
    /// The time.
    pub now: OffsetDateTime,
}

impl Source<'_> {
    /// A copy for the retry queue that `delay` names, for these handlers alone, each with the
    /// attempts that it has failed by now; `expiration_ms` is how long it stays there.
    ///
    /// `publish_id` is a fresh one.
    #[must_use]
    pub fn retry(
        &self,
        handlers: &[HandlerAttempt],
        delay: &str,
        expiration_ms: u64,
        failure: &FailureInfo<'_>,
        publish_id: &str,
    ) -> Message {
        let mut copy = self.copy(publish_id);
        self.delay(&mut copy, handlers, delay, expiration_ms);
        let headers = &mut copy.headers;
        let count = handlers.iter().map(|handler| handler.attempt).max().unwrap_or(0);
        headers.insert(names::RETRY_COUNT, count);
        headers.insert(names::LAST_RETRY_AT, isoformat(self.now));
        headers.insert(names::ES_FIRST_FAILURE_AT, self.first_failure_at());
        headers.insert(names::ES_LAST_FAILURE_AT, isoformat(self.now));
        headers.insert(names::ES_REASON, cut(failure.reason, 255).as_ref());
        headers.insert(names::ES_ERROR_TYPE, cut(failure.error_type, 255).as_ref());
        headers.insert(names::ES_ERROR, cut(&failure.text, MAX_ERROR_LEN).as_ref());
        copy
    }

    /// A copy for a retry queue, of an event that nobody here knows (yet): `waits` counts this time
    /// in. `handlers` are those that it was for and that are gone, or none; `reason` is one of the
    /// `REASON_` words in [`names`].
    #[must_use]
    pub fn wait(
        &self,
        handlers: &[HandlerAttempt],
        waits: u32,
        delay: &str,
        expiration_ms: u64,
        reason: &str,
        publish_id: &str,
    ) -> Message {
        let mut copy = self.copy(publish_id);
        self.delay(&mut copy, handlers, delay, expiration_ms);
        let headers = &mut copy.headers;
        headers.insert(names::ES_WAITS, waits);
        headers.insert(names::ES_REASON, cut(reason, 255).as_ref());
        // It did not fail now; when it did is not forgotten.
        for name in [names::ES_FIRST_FAILURE_AT, names::ES_LAST_FAILURE_AT] {
            if let Some(at) = self.own_time(name) {
                headers.insert(name, at);
            }
        }
        copy
    }

    /// A copy for the queue of suspects: the delivery as it is, with the number of processes that ended
    /// while they had it in hand. It is for the same handlers, at the same attempts.
    #[must_use]
    pub fn suspect(&self, crashes: u32, publish_id: &str) -> Message {
        let mut copy = self.copy(publish_id);
        let headers = &mut copy.headers;
        headers.insert(names::ES_DELAY, names::DELAY_SUSPECTS);
        headers.insert(names::ES_CRASHES, crashes);
        acknowledge_replay(headers);
        write_attempts(headers, self.queue, &attempts(self.received, self.queue));
        let waits = waits(self.received, self.queue);
        if waits > 0 {
            headers.insert(names::ES_WAITS, waits);
        }
        for name in [names::ES_FIRST_FAILURE_AT, names::ES_LAST_FAILURE_AT] {
            if let Some(at) = self.own_time(name) {
                headers.insert(name, at);
            }
        }
        copy
    }

    /// A copy for the dead-letter queue, for one handler, or for none when the event never came to
    /// one. `attempt` is how many retries it had, `dlq_id` the fresh id of the entry.
    #[must_use]
    pub fn dead_letter(
        &self,
        handler: Option<&str>,
        attempt: u32,
        failure: &FailureInfo<'_>,
        dlq_id: &str,
        publish_id: &str,
    ) -> Message {
        let mut copy = self.copy(publish_id);
        let headers = &mut copy.headers;
        headers.insert(names::DLQ_REASON, cut(&failure.text, MAX_ERROR_LEN).as_ref());
        headers.insert(names::DLQ_ERROR_TYPE, cut(failure.error_type, 255).as_ref());
        headers.insert(names::DLQ_RETRY_COUNT, attempt);
        headers.insert(names::DLQ_TIMESTAMP, isoformat(self.now));
        headers.insert(names::RETRY_COUNT, attempt);
        headers.insert(names::ES_REASON, cut(failure.reason, 255).as_ref());
        headers.insert(names::ES_FIRST_FAILURE_AT, self.first_failure_at());
        headers.insert(names::ES_LAST_FAILURE_AT, isoformat(self.now));
        headers.insert(names::ES_DLQ_ID, dlq_id);
        acknowledge_replay(headers);
        if let Some(handler) = handler {
            headers.insert(names::ES_HANDLER, handler);
        }
        copy
    }

    /// A copy of a message in the dead-letter queue, to be handled again by the handlers that it
    /// failed in, or by all when it names none.
    #[must_use]
    pub fn replay(&self, handlers: &[&str], publish_id: &str) -> Message {
        let replays = self.received.message.headers.get_int(names::ES_REPLAYS).unwrap_or(0);
        let mut copy = self.copy(publish_id);
        let headers = &mut copy.headers;
        headers.insert(names::RETRY_COUNT, 0_u32);
        headers.insert(names::REPLAYED_FROM_DLQ, isoformat(self.now));
        acknowledge_replay(headers);
        headers.insert(names::ES_REPLAYS, replays.clamp(0, i64::from(u32::MAX) - 1) + 1);
        let handlers: Vec<_> = handlers
            .iter()
            .map(|&handler| HandlerAttempt { handler: handler.to_owned(), attempt: 0, due_ms: None })
            .collect();
        write_attempts(headers, self.queue, &handlers);
        copy
    }

    /// A copy on its way to another queue and back to this one, while this one is migrated: the same message for
    /// the same handlers, at the same attempts. Its exchange is not the one that it came by any more, so that is
    /// written down as in every copy. An expiration stays, and begins anew.
    #[must_use]
    pub fn moved(&self, publish_id: &str) -> Message {
        let mut moved = self.copy(publish_id);
        let Message { properties, headers, .. } = &self.received.message;
        moved.properties.expiration.clone_from(&properties.expiration);
        let aside = format!("{}expiration", names::ES_ORIG_PREFIX);
        if headers.get(&aside).is_none() {
            moved.headers.remove(&aside);
        }
        // What this queue's worker wrote of the event still holds. What another one's did is not obeyed here, and
        // would be from now on.
        if is_marked(headers, self.queue) {
            for (name, value) in headers.iter().filter(|(name, _)| is_per_copy(name)) {
                if moved.headers.get(name).is_none() {
                    moved.headers.insert(name.to_owned(), value.clone());
                }
            }
        }
        moved
    }

    /// What all copies have in common.
    fn copy(&self, publish_id: &str) -> Message {
        let Message { mut properties, headers, body } = self.received.message.clone();
        let first = !is_marked(&headers, self.queue);
        let set_aside =
            [("user_id", properties.user_id.take()), ("expiration", properties.expiration.take())]
                .map(|(name, text)| (Text::Borrowed(name), text.map(|text| Value::from(&*text))));

        let mut kept = Headers::new();
        let mut aside = Vec::from(set_aside);
        for (name, value) in headers {
            if names::is_written_by_broker(&name) || names::is_routing(&name) {
                aside.push((name, Some(value)));
            } else if !is_per_copy(&name) {
                kept.insert(name, value);
            }
        }
        for (name, value) in aside {
            let name = format!("{}{name}", names::ES_ORIG_PREFIX);
            if let Some(value) = value
                && first
                && name.len() <= usize::from(u8::MAX)
                && kept.get(&name).is_none()
            {
                kept.insert(name, value);
            }
        }

        kept.insert(names::ES_QUEUE, self.queue);
        kept.insert(names::ES_PUBLISH_ID, publish_id);
        kept.insert(names::ES_ORIGINAL_EXCHANGE, &*self.origin.exchange);
        kept.insert(names::ORIGINAL_ROUTING_KEY, &*self.origin.routing_key);
        Message { properties, headers: kept, body }
    }

    /// Sends a copy to a retry queue and back to these handlers.
    fn delay(&self, copy: &mut Message, handlers: &[HandlerAttempt], delay: &str, expiration_ms: u64) {
        // The broker closes the channel over an expiration of more than 32 bits.
        let expiration_ms = expiration_ms.min(u64::from(u32::MAX));
        copy.properties.expiration = Some(expiration_ms.to_string().into());
        copy.headers.insert(names::ES_DELAY, delay);
        acknowledge_replay(&mut copy.headers);
        write_attempts(&mut copy.headers, self.queue, handlers);
    }

    fn first_failure_at(&self) -> String {
        self.own_time(names::ES_FIRST_FAILURE_AT).map_or_else(|| isoformat(self.now), str::to_owned)
    }

    /// A time that this queue's worker wrote on an earlier copy.
    fn own_time(&self, name: &str) -> Option<&str> {
        let headers = &self.received.message.headers;
        headers.get_str(name).filter(|at| is_marked(headers, self.queue) && at.len() <= 64)
    }
}

/// A message as it is, for another queue: of one that is kept and not handled, as a dead letter, where all that
/// is to be known stands in the headers already. What the broker would refuse is set aside.
#[must_use]
pub(crate) fn carried(message: &Message, publish_id: &str) -> Message {
    let mut carried = message.clone();
    if let Some(user) = carried.properties.user_id.take() {
        let name = format!("{}user_id", names::ES_ORIG_PREFIX);
        if carried.headers.get(&name).is_none() {
            carried.headers.insert(name, &*user);
        }
    }
    // These count what happened in one queue.
    for name in ["x-delivery-count", "x-acquired-count"] {
        carried.headers.remove(name);
    }
    carried.headers.insert(names::ES_PUBLISH_ID, publish_id);
    carried
}

/// Says that what the copy tells, its counts or its failure, came after the last replay.
fn acknowledge_replay(headers: &mut Headers) {
    if let Some(replay) = headers.get(names::REPLAYED_FROM_DLQ) {
        let mark = replay_mark(replay).into_owned();
        headers.insert(names::ES_REPLAYED, mark);
    }
}

/// Whether the header speaks of one copy, so that the next one has its own or none.
fn is_per_copy(name: &str) -> bool {
    matches!(
        name,
        names::ES_DELAY
            | names::ES_QUEUE
            | names::ES_ATTEMPTS
            | names::ES_WAITS
            | names::ES_CRASHES
            | names::ES_PUBLISH_ID
            | names::ES_ORIGINAL_EXCHANGE
            | names::ES_FIRST_FAILURE_AT
            | names::ES_LAST_FAILURE_AT
            | names::ES_REASON
            | names::ES_ERROR
            | names::ES_ERROR_TYPE
            | names::ES_HANDLER
            | names::ES_DLQ_ID
            | names::ES_REPLAYED
            | names::ORIGINAL_ROUTING_KEY
            | names::DLQ_REASON
            | names::DLQ_ERROR_TYPE
            | names::DLQ_RETRY_COUNT
            | names::DLQ_TIMESTAMP
    )
}
