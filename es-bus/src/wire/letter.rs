//! What a message in a dead-letter queue tells of its way there.
//!
//! Three put messages there: the worker of es-bus, eventsource-py, and the broker itself. Each leaves
//! other headers, and the next one leaves those of the one before: eventsource-py copies ours, so they
//! are believed only when nobody has replayed the message since.

use std::borrow::Cow;

use uuid::Uuid;

use super::{
    attempts::{attempts, knows_of_replay},
    identify::{Origin, event_type, header_text},
    ids::{NAMESPACE, original},
    names,
};
use crate::{
    message::{Headers, Received, Value},
    topic::MAX_KEY_LEN,
};

/// Who put a message into a dead-letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterAuthor {
    /// A worker of es-bus, as [`Source::dead_letter`](super::Source::dead_letter) writes it.
    EsBus,
    /// eventsource-py, or whoever writes its five headers.
    EventsourcePy,
    /// The broker: the message was rejected, expired, or did not fit into its queue.
    Broker,
    /// Somebody else: it was published or moved there by hand.
    Unknown,
}

/// Where a message in a dead-letter queue came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Who put it there.
    pub author: DeadLetterAuthor,
    /// The queue that it failed in, when anything tells.
    pub queue: Option<String>,
    /// Where it was first published; the exchange is empty when nothing tells.
    pub origin: Origin,
    /// The handlers that it failed in; empty when it is for all.
    pub handlers: Vec<String>,
}

/// Tells where a message in the dead-letter queue `dlq` came from.
#[must_use]
pub fn provenance(received: &Received, dlq: &str) -> Provenance {
    let headers = &received.message.headers;
    let name = |text: Option<&str>| {
        text.filter(|text| !text.is_empty() && *text != dlq && text.len() <= MAX_KEY_LEN).map(str::to_owned)
    };
    // It came through a dead-letter exchange by the name of its queue, unless somebody moved it here.
    let by_key = || name(Some(&received.routing_key).filter(|_| !received.exchange.is_empty()).map(|k| &**k));
    let death = latest_death(headers);
    let author = author(headers, death);
    let (queue, handlers) = match author {
        DeadLetterAuthor::EsBus => {
            let queue = name(headers.get_str(names::ES_QUEUE)).or_else(by_key);
            (queue, headers.get_str(names::ES_HANDLER).map(str::to_owned).into_iter().collect())
        }
        DeadLetterAuthor::Broker => {
            let queue = name(death.and_then(|death| death.get_str("queue")).map(migrated)).or_else(by_key);
            // A copy for some handlers, rejected before it could be copied again.
            let handlers = queue.as_deref().map(|queue| attempts(received, queue)).unwrap_or_default();
            (queue, handlers.into_iter().map(|it| it.handler).collect())
        }
        DeadLetterAuthor::EventsourcePy | DeadLetterAuthor::Unknown => (by_key(), Vec::new()),
    };
    let is_ours = author == DeadLetterAuthor::EsBus
        || (headers.get_str(names::ES_QUEUE).is_some()
            && headers.get_str(names::ES_QUEUE) == queue.as_deref()
            && knows_of_replay(headers));
    let exchange = name(headers.get_str(names::ES_ORIGINAL_EXCHANGE).filter(|_| is_ours))
        .or_else(|| name(death.and_then(|death| death.get_str("exchange"))));
    let died_with = || death?.get("routing-keys")?.as_array()?.first()?.as_str();
    let routing_key = headers
        .get_str(names::ORIGINAL_ROUTING_KEY)
        .filter(|key| (is_ours || author == DeadLetterAuthor::EventsourcePy) && key.len() <= MAX_KEY_LEN)
        .or_else(|| died_with().filter(|key| key.len() <= MAX_KEY_LEN))
        .unwrap_or(&received.routing_key);
    Provenance {
        author,
        origin: Origin {
            exchange: exchange.unwrap_or_default(),
            routing_key: routing_key.to_owned(),
            event_type: event_type(received),
            replayed: headers.get(names::REPLAYED_FROM_DLQ).is_some(),
        },
        queue,
        handlers,
    }
}

/// The queue that a message was of which the broker gave up while its queue was migrated.
fn migrated(queue: &str) -> &str {
    let aside = [names::OLD_SUFFIX, names::ASIDE_SUFFIX];
    aside.into_iter().find_map(|suffix| queue.strip_suffix(suffix)).unwrap_or(queue)
}

fn author(headers: &Headers, death: Option<&Headers>) -> DeadLetterAuthor {
    // A copy of ours carries no death, so one that is there came later.
    if headers.get_str(names::ES_DLQ_ID).is_some() && death.is_none() && knows_of_replay(headers) {
        DeadLetterAuthor::EsBus
    } else if headers.get(names::DLQ_REASON).is_some() && headers.get(names::DLQ_TIMESTAMP).is_some() {
        DeadLetterAuthor::EventsourcePy
    } else if death.is_some() {
        DeadLetterAuthor::Broker
    } else {
        DeadLetterAuthor::Unknown
    }
}

/// What the broker wrote when it last dead-lettered the message.
#[must_use]
pub fn latest_death(headers: &Headers) -> Option<&Headers> {
    headers.get("x-death")?.as_array()?.first()?.as_table()
}

/// The id of an entry in a dead-letter queue: `x-es-dlq-id`; without one the message id, and without
/// that a UUID made of the body and the routing key, so that the same entry has the same id however
/// often and in whatever order it is looked at.
#[must_use]
pub fn dead_letter_id(received: &Received, provenance: &Provenance) -> String {
    let message = &received.message;
    let own = message.headers.get_str(names::ES_DLQ_ID);
    let own = own.filter(|_| provenance.author == DeadLetterAuthor::EsBus);
    match own.or(message.properties.message_id.as_deref()).filter(|id| !id.is_empty() && id.len() <= 255) {
        Some(id) => id.to_owned(),
        None => {
            let mut name = provenance.origin.routing_key.clone().into_bytes();
            name.push(0);
            name.extend_from_slice(&message.body);
            Uuid::new_v5(&NAMESPACE, &name).to_string()
        }
    }
}

/// The id of the event, as its publisher gave it.
#[must_use]
pub fn event_id(received: &Received) -> Option<Cow<'_, str>> {
    let id = received.message.properties.message_id.as_deref()?;
    Some(original(Cow::Borrowed(id), &received.message.headers, names::ES_EVENT_ID))
}

/// The id of the aggregate, as its publisher gave it.
#[must_use]
pub fn aggregate_id(received: &Received) -> Option<Cow<'_, str>> {
    let headers = &received.message.headers;
    if headers.get(names::ES_NO_AGGREGATE_ID).is_some() {
        return None;
    }
    Some(original(header_text(headers.get(names::AGGREGATE_ID)?)?, headers, names::ES_AGGREGATE_ID))
}

/// How often the message was dead-lettered by the broker, over all queues and reasons.
#[must_use]
pub fn death_count(headers: &Headers) -> u64 {
    let deaths = headers.get("x-death").and_then(Value::as_array).unwrap_or_default();
    let counts = deaths.iter().filter_map(Value::as_table).filter_map(|death| death.get_int("count"));
    counts.fold(0_u64, |sum, count| sum.saturating_add(u64::try_from(count).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        message::Message,
        wire::testing::{DEAD_LETTERED, captured},
    };

    const DLQ: &str = "events.projections.dlq";

    fn in_dlq(headers: Headers) -> Received {
        Received {
            message: Message { headers, ..Message::default() },
            exchange: "events_dlq".to_owned(),
            routing_key: "events.projections".to_owned(),
            redelivered: false,
        }
    }

    fn death(queue: &str, key: &str) -> Value {
        let death: Headers = [
            ("queue", Value::from(queue)),
            ("exchange", Value::from("events")),
            ("reason", Value::from("rejected")),
            ("count", Value::I64(3)),
            ("routing-keys", Value::Array(vec![Value::from(key)])),
        ]
        .into_iter()
        .collect();
        Value::Array(vec![Value::Table(death)])
    }

    fn ours() -> Headers {
        [
            (names::ES_DLQ_ID, "entry-1"),
            (names::ES_QUEUE, "events.projections"),
            (names::ES_HANDLER, "project"),
            (names::ES_ORIGINAL_EXCHANGE, "events"),
            (names::ORIGINAL_ROUTING_KEY, "Order.OrderPlaced"),
            (names::DLQ_REASON, "boom"),
            (names::DLQ_TIMESTAMP, "2026-01-02T03:04:05+00:00"),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn a_letter_of_es_bus_names_all_of_it() {
        let received = in_dlq(ours());

        let found = provenance(&received, DLQ);

        assert_eq!(found.author, DeadLetterAuthor::EsBus);
        assert_eq!(found.queue.as_deref(), Some("events.projections"));
        assert_eq!(found.handlers, ["project"]);
        assert_eq!((&*found.origin.exchange, &*found.origin.routing_key), ("events", "Order.OrderPlaced"));
        assert_eq!(dead_letter_id(&received, &found), "entry-1");
    }

    #[test]
    fn our_headers_are_stale_after_a_replay_by_eventsource_py() {
        let mut headers = ours();
        headers.insert(names::REPLAYED_FROM_DLQ, "2026-01-03T00:00:00+00:00");
        let mut received = in_dlq(headers);
        // It failed in another group then, which copied all headers.
        received.routing_key = "events.audit".to_owned();
        received.message.properties.message_id = Some("event-1".into());

        let found = provenance(&received, DLQ);

        assert_eq!(found.author, DeadLetterAuthor::EventsourcePy);
        assert_eq!(found.queue.as_deref(), Some("events.audit"));
        assert_eq!(found.handlers, Vec::<String>::new());
        assert_eq!(dead_letter_id(&received, &found), "event-1");
    }

    #[test]
    fn a_letter_of_eventsource_py_is_known_by_its_key() {
        let received = Received {
            message: captured(DEAD_LETTERED),
            exchange: "events_dlq".to_owned(),
            routing_key: "events.projections".to_owned(),
            redelivered: false,
        };

        let found = provenance(&received, DLQ);

        assert_eq!(found.author, DeadLetterAuthor::EventsourcePy);
        assert_eq!(found.queue.as_deref(), Some("events.projections"));
        assert_eq!(found.origin.routing_key, "Order.OrderPlaced");
        assert_eq!(found.origin.exchange, "");
        assert_eq!(found.origin.event_type.as_deref(), Some("OrderPlaced"));
        assert_eq!(event_id(&received).as_deref(), Some("11111111-1111-4111-8111-111111111111"));
        assert_eq!(aggregate_id(&received).as_deref(), Some("22222222-2222-4222-8222-222222222222"));
    }

    #[test]
    fn what_the_broker_dead_lettered_tells_by_its_death() {
        let headers = [("x-death", death("events.projections", "Order.OrderPlaced"))].into_iter().collect();
        let received = in_dlq(headers);

        let found = provenance(&received, DLQ);

        assert_eq!(found.author, DeadLetterAuthor::Broker);
        assert_eq!(found.queue.as_deref(), Some("events.projections"));
        assert_eq!((&*found.origin.exchange, &*found.origin.routing_key), ("events", "Order.OrderPlaced"));
        assert_eq!(death_count(&received.message.headers), 3);
    }

    #[test]
    fn what_died_while_its_queue_was_migrated_is_of_that_queue() {
        for queue in ["events.projections.migrating", "events.projections.migrating.old"] {
            let headers = [("x-death", death(queue, "Order.OrderPlaced"))].into_iter().collect();

            let found = provenance(&in_dlq(headers), DLQ);

            assert_eq!(found.queue.as_deref(), Some("events.projections"), "{queue}");
        }
    }

    #[test]
    fn a_rejected_retry_copy_is_for_its_handlers_and_keeps_its_first_exchange() {
        let mut list = Headers::new();
        list.insert("queue", "events.projections");
        list.insert("handlers", [("project", 2_u32)].into_iter().collect::<Headers>());
        let mut headers: Headers =
            [("x-death", death("events.projections", "Order.OrderPlaced"))].into_iter().collect();
        headers.insert(names::ES_QUEUE, "events.projections");
        headers.insert(names::ES_ORIGINAL_EXCHANGE, "orders");
        headers.insert(names::ES_ATTEMPTS, list);

        let found = provenance(&in_dlq(headers), DLQ);

        assert_eq!(found.handlers, ["project"]);
        assert_eq!(found.origin.exchange, "orders");
    }

    #[test]
    fn hostile_headers_tell_nothing_and_break_nothing() {
        let long = "x".repeat(300);
        let mut headers = Headers::new();
        for name in [names::ES_QUEUE, names::ES_DLQ_ID, names::ORIGINAL_ROUTING_KEY] {
            headers.insert(name, &*long);
        }
        headers.insert("x-death", Value::Array(vec![Value::Void, Value::I64(-1)]));
        headers.insert(names::AGGREGATE_ID, Value::Array(Vec::new()));
        let mut received = in_dlq(headers);
        received.exchange.clear();
        received.routing_key = DLQ.to_owned();

        let found = provenance(&received, DLQ);

        assert_eq!(found.queue, None);
        assert_eq!(death_count(&received.message.headers), 0);
        assert_eq!(aggregate_id(&received), None);
        assert_eq!(dead_letter_id(&received, &found), dead_letter_id(&received, &found));
        assert!(Uuid::try_parse(&dead_letter_id(&received, &found)).is_ok());
    }
}
