//! The message that a question is about, and what its publisher would say of it.

use std::collections::BTreeMap;

use super::{ExplainError, Program, Question, Subject, question::About};
use crate::{
    duration,
    event::{EventKind, Unroutable},
    message::{Headers, Value},
    model,
    suggest::{nearest, nearest_pattern},
    topic::MAX_KEY_LEN,
    topology::{Claims, bound::always},
    wire::names,
};

/// A message that may be published.
pub(super) struct Message<'a> {
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) headers: Headers,
    /// The event of the program that it is.
    pub(super) kind: Option<&'a EventKind>,
    pub(super) subject: Subject,
}

impl Message<'_> {
    pub(super) fn claims(&self) -> Claims<'_> {
        let named = |name: &&str| !name.is_empty();
        Claims {
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            event_type: self.headers.get_str(names::EVENT_TYPE).filter(named),
            aggregate_type: self.headers.get_str(names::AGGREGATE_TYPE),
            headers: &self.headers,
        }
    }

    /// What an unroutable one means; `None` for what is no event of the program.
    pub(super) fn unroutable(&self) -> Option<Unroutable> {
        self.kind.map(|kind| kind.unroutable)
    }
}

pub(super) fn message<'a>(program: &Program<'a>, question: &Question) -> Result<Message<'a>, ExplainError> {
    let (kind, exchange, routing_key) = match &question.about {
        About::Event(name) => {
            let kind = event(program, name, question.exchange.as_deref())?;
            if kind.has_fields() {
                return Err(ExplainError::Fields {
                    event: kind.name.to_owned(),
                    pattern: kind.key.to_owned(),
                    example: kind.key.replace('*', "x"),
                });
            }
            (Some(kind), program.exchanges.of(kind).to_owned(), kind.key.to_owned())
        }
        About::Key(key) => {
            let exchange = question.exchange.as_deref().unwrap_or(program.exchanges.default().as_str());
            (of_key(program, exchange, key, &question.headers), exchange.to_owned(), key.clone())
        }
    };
    if routing_key.len() > MAX_KEY_LEN {
        return Err(ExplainError::LongKey { length: routing_key.len() });
    }
    if !exchange.is_empty() && program.topology.exchange(&exchange).is_none() {
        let known: Vec<&str> = program.topology.exchanges().map(|it| it.name.as_str()).collect();
        return Err(ExplainError::UnknownExchange {
            nearest: nearest(&exchange, known.iter().copied()).map(str::to_owned),
            known: known.into_iter().map(str::to_owned).collect(),
            name: exchange,
        });
    }
    let mut headers = kind.map(always).unwrap_or_default();
    for (name, value) in question.headers.clone() {
        headers.insert(name, value);
    }
    let subject = subject(program, kind, (&exchange, &routing_key), &headers);
    Ok(Message { exchange, routing_key, headers, kind, subject })
}

/// The event that is meant by a name or a key.
fn event<'a>(
    program: &Program<'a>,
    name: &str,
    exchange: Option<&str>,
) -> Result<&'a EventKind, ExplainError> {
    let kinds = program.registry.kinds();
    let is_there = |kind: &EventKind| exchange.is_none_or(|name| program.exchanges.of(kind) == name);
    let by_key = |kind: &&&EventKind| kind.key == name || format!("{}.{}", kind.aggregate, kind.name) == name;
    let mut found: Vec<&'a EventKind> =
        kinds.iter().filter(by_key).copied().filter(|it| is_there(it)).collect();
    if found.is_empty() {
        found = kinds.iter().copied().filter(|kind| kind.name == name && is_there(kind)).collect();
    }
    // Views are other looks at one event.
    found.dedup_by_key(|kind| (program.exchanges.of(kind), kind.key, kind.name, kind.aggregate));
    match found.as_slice() {
        [kind] => Ok(kind),
        [] => {
            let mut known: Vec<&str> = kinds.iter().map(|kind| kind.key).collect();
            known.sort_unstable();
            known.dedup();
            let names = known.iter().copied().chain(kinds.iter().map(|kind| kind.name));
            Err(ExplainError::UnknownEvent {
                name: name.to_owned(),
                nearest: nearest(name, names)
                    .map(str::to_owned)
                    .or_else(|| nearest_pattern(name, known.iter().copied())),
                known: known.into_iter().map(str::to_owned).collect(),
            })
        }
        several => Err(ExplainError::AmbiguousEvent {
            name: name.to_owned(),
            events: several
                .iter()
                .map(|kind| format!("{} on {}", kind.key, program.exchanges.of(kind)))
                .collect(),
        }),
    }
}

/// The event that is published with a key, unless the message says that it is something else.
fn of_key<'a>(program: &Program<'a>, exchange: &str, key: &str, headers: &Headers) -> Option<&'a EventKind> {
    let claimed = headers.get_str(names::EVENT_TYPE);
    let is_it = |kind: &&EventKind| {
        kind.has_key(key)
            && program.exchanges.of(kind) == exchange
            && claimed.is_none_or(|claimed| claimed == kind.name)
    };
    program.registry.kinds().into_iter().find(is_it)
}

fn subject(
    program: &Program<'_>,
    kind: Option<&EventKind>,
    (exchange, routing_key): (&str, &str),
    headers: &Headers,
) -> Subject {
    let is_same = |other: &EventKind| {
        kind.is_some_and(|kind| {
            kind.name == other.name && kind.key == other.key && kind.exchange == other.exchange
        })
    };
    let declares = |view: bool| {
        let mut events = program.registry.events().iter();
        events
            .find(|def| def.view == view && def.kinds.iter().any(is_same))
            .map(|def| def.location.to_string())
    };
    let emitters = program.registry.handlers().iter().filter(|def| def.emitted().into_iter().any(is_same));
    let text = |name| headers.get_str(name).map(str::to_owned);
    Subject {
        event: text(names::EVENT_TYPE),
        aggregate: text(names::AGGREGATE_TYPE),
        declared: declares(false).or_else(|| declares(true)),
        emitted_by: emitters.map(|def| format!("{}/{}", def.group.name, def.name)).collect(),
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        headers: texts(headers),
        ttl: kind.and_then(EventKind::ttl).map(duration::print),
    }
}

fn texts(headers: &Headers) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| model::in_words(value), str::to_owned);
    headers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect()
}

/// What may have been meant by a key that nothing known has.
pub(super) fn hints(program: &Program<'_>, message: &Message<'_>) -> Vec<String> {
    let (kinds, key) = (program.registry.kinds(), &message.routing_key);
    if message.kind.is_some() || message.exchange.is_empty() {
        return Vec::new();
    }
    let here = kinds.iter().filter(|kind| program.exchanges.of(kind) == message.exchange);
    if let Some(other) = kinds.iter().find(|kind| kind.has_key(key)) {
        let exchange = program.exchanges.of(other);
        if exchange == message.exchange {
            // It claims to be something else.
            return Vec::new();
        }
        return vec![format!("{key:?} is the key of {}, which goes to exchange {exchange:?}", other.name)];
    }
    let mut keys: Vec<&str> = here.map(|kind| kind.key).collect();
    keys.sort_unstable();
    let near = nearest(key, keys.iter().copied()).map(str::to_owned).or_else(|| nearest_pattern(key, keys));
    let guess = near.filter(|near| near != key).map(|near| format!("; did you mean {near:?}?"));
    vec![format!("no event of this program has the key {key:?}{}", guess.unwrap_or_default())]
}
