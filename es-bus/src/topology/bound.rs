//! What a handler asks for, and the bindings that it comes to once the kinds of the exchanges are
//! known.

use std::borrow::Cow;

use super::Exchanges;
use crate::{
    event::EventKind,
    exchange::{Bind, ExchangeKind, HeadersMatch, Match, SourceDef},
    message::{Headers, StaticValue},
    model::{Binding, Exchange, ExchangeBinding, asked, delivers, refusal},
    name::{ExchangeName, InvalidName, QueueName},
    topic,
};

/// What a handler asks for, before anyone looked at the exchange.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    /// A binding key.
    Key(Cow<'static, str>),
    /// The arguments of a binding to a headers exchange: `x-match`, names and values.
    Headers(Headers),
}

impl From<&Bind> for Asked {
    fn from(bind: &Bind) -> Self {
        match bind {
            Bind::Key(key) => Self::Key(Cow::Borrowed(key)),
            Bind::Headers(headers) => Self::Headers(arguments(headers)),
        }
    }
}

fn arguments(headers: &HeadersMatch) -> Headers {
    let mut arguments: Headers = headers.values.iter().copied().collect();
    arguments.insert("x-match", headers.mode.as_str());
    arguments
}

/// A binding that a handler asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bound {
    /// The exchange.
    pub(crate) exchange: ExchangeName,
    /// How it picks queues.
    pub(crate) kind: ExchangeKind,
    /// The binding key; empty where the exchange does not look at it.
    pub(crate) key: Cow<'static, str>,
    /// What a headers exchange matches on.
    pub(crate) arguments: Headers,
}

impl Bound {
    /// Whether the exchange delivers such a message by this binding.
    pub(crate) fn delivers(&self, routing_key: &str, headers: &Headers) -> bool {
        delivers(self.kind, (&self.key, &self.arguments), (routing_key, headers))
    }

    /// Whether the binding delivers this event, as far as its key and its own headers say.
    pub(crate) fn may_deliver(&self, kind: &EventKind) -> bool {
        match self.kind {
            ExchangeKind::Headers => delivers(self.kind, ("", &self.arguments), ("", &always(kind))),
            ExchangeKind::Topic
            | ExchangeKind::Direct
            | ExchangeKind::Fanout
            | ExchangeKind::ConsistentHash => self.kind.may_deliver(&self.key, kind.key),
        }
    }

    /// Why it does not deliver such a message; `None` where it does.
    pub(crate) fn refusal(&self, routing_key: &str, headers: &Headers) -> Option<String> {
        refusal(self.kind, (&self.key, &self.arguments), (routing_key, headers))
    }

    /// What it asks for, in words.
    pub(crate) fn in_words(&self) -> String {
        asked(self.kind, &self.key, &self.arguments)
    }

    /// Whether it brings events that nobody named.
    pub(crate) fn is_wide(&self) -> bool {
        match self.kind {
            ExchangeKind::Topic => topic::is_pattern(&self.key),
            ExchangeKind::Direct => false,
            ExchangeKind::Fanout | ExchangeKind::Headers | ExchangeKind::ConsistentHash => true,
        }
    }

    /// The binding of this queue, whose share of a consistent-hash exchange is as large as the weight.
    pub(crate) fn of(&self, queue: &QueueName, weight: u16) -> Binding {
        Binding {
            source: self.exchange.clone(),
            queue: queue.clone(),
            key: match self.kind {
                ExchangeKind::ConsistentHash => weight.to_string(),
                ExchangeKind::Topic | ExchangeKind::Direct | ExchangeKind::Fanout | ExchangeKind::Headers => {
                    self.key.clone().into_owned()
                }
            },
            arguments: self.arguments.clone(),
        }
    }
}

/// The headers that every message of an event has, of those that a publisher can foresee.
pub(super) fn always(kind: &EventKind) -> Headers {
    let named = [("event_type", kind.name), ("aggregate_type", kind.aggregate)];
    let named = named.into_iter().map(|(name, text)| (name, StaticValue::Str(text)));
    kind.headers.iter().copied().chain(named).collect()
}

/// The bindings of a handler: on the exchanges of the events that it takes, for one of raw events on
/// the home exchange of its group. Where that is a consistent-hash exchange, on that alone.
///
/// Without `bind` they are the exact keys of its events where the exchange looks at keys, the
/// headers that its events always have on a headers exchange, everything on a fanout exchange, and a share of it on
/// a consistent-hash exchange.
/// What an exchange does not look at asks for nothing, rather than for everything: the check of the
/// registry has told of it.
///
/// # Errors
///
/// [`InvalidName`] for an exchange that AMQP has no name for.
pub(crate) fn bound(
    asked: Option<&[Asked]>,
    kinds: Option<&[EventKind]>,
    home: &ExchangeName,
    exchanges: &Exchanges,
) -> Result<Vec<Bound>, InvalidName> {
    let mut all = Vec::new();
    let mut add = |found: Option<Bound>| {
        if let Some(bound) = found.filter(|bound| !all.contains(bound)) {
            all.push(bound);
        }
    };
    match (asked, kinds) {
        // Its share of what comes there is all that the group gets, by whichever exchange it came.
        (asked, _) if exchanges.kind(home.as_str()) == ExchangeKind::ConsistentHash => {
            if asked.is_none() {
                add(on(&Asked::Key(Cow::Borrowed("")), home.clone(), ExchangeKind::ConsistentHash));
            }
        }
        (Some(asked), None) => {
            for one in asked {
                add(on(one, home.clone(), exchanges.kind(home.as_str())));
            }
        }
        (Some(asked), Some(kinds)) => {
            for one in asked {
                for kind in kinds {
                    let exchange = ExchangeName::new(exchanges.of(kind))?;
                    let found = on(one, exchange.clone(), exchanges.kind(exchange.as_str()));
                    add(found.filter(|bound| {
                        // What a publish adds to the headers of an event is not known.
                        bound.kind == ExchangeKind::Headers || bound.may_deliver(kind)
                    }));
                }
            }
        }
        (None, None) => {
            if exchanges.kind(home.as_str()) == ExchangeKind::Fanout {
                add(on(&Asked::Key(Cow::Borrowed("")), home.clone(), ExchangeKind::Fanout));
            }
        }
        (None, Some(kinds)) => {
            for kind in kinds {
                let exchange = ExchangeName::new(exchanges.of(kind))?;
                let how = exchanges.kind(exchange.as_str());
                let own = match how {
                    ExchangeKind::Topic | ExchangeKind::Direct => Asked::Key(Cow::Borrowed(kind.key)),
                    ExchangeKind::Fanout | ExchangeKind::ConsistentHash => Asked::Key(Cow::Borrowed("")),
                    ExchangeKind::Headers => Asked::Headers(own_headers(kind)),
                };
                add(on(&own, exchange, how));
            }
        }
    }
    Ok(all)
}

/// The bindings by which an exchange gets messages from another one. What the other one does not look at asks
/// for nothing: the check of the registry has told of it.
pub(crate) fn given(source: &Exchange, destination: &ExchangeName, def: &SourceDef) -> Vec<ExchangeBinding> {
    let binding = |key: &str, arguments| ExchangeBinding {
        source: source.name.clone(),
        destination: destination.clone(),
        key: key.to_owned(),
        arguments,
    };
    match (def.binds, source.kind) {
        ([], ExchangeKind::Topic) => vec![binding("#", Headers::new())],
        ([], ExchangeKind::Fanout) => vec![binding("", Headers::new())],
        // A share of everything, as a group without a weight has it.
        ([], ExchangeKind::ConsistentHash) => vec![binding("1", Headers::new())],
        // A table without values matches every message.
        ([], ExchangeKind::Headers) => {
            vec![binding("", [("x-match", Match::All.as_str())].into_iter().collect())]
        }
        ([], ExchangeKind::Direct) => Vec::new(),
        (binds, _) => {
            let bound =
                binds.iter().filter_map(|bind| on(&Asked::from(bind), source.name.clone(), source.kind));
            bound.map(|bound| binding(&bound.key, bound.arguments)).collect()
        }
    }
}

/// The binding on one exchange; `None` where the exchange does not look at what is asked for.
fn on(asked: &Asked, exchange: ExchangeName, kind: ExchangeKind) -> Option<Bound> {
    let bound = |key: &Cow<'static, str>, arguments| Bound { exchange, kind, key: key.clone(), arguments };
    match (asked, kind) {
        (Asked::Key(_), ExchangeKind::Headers) => None,
        // What it asks for is all that there is to ask for; how large its share is, is for its group to say.
        (Asked::Key(key), ExchangeKind::ConsistentHash) => {
            key.is_empty().then(|| bound(&Cow::Borrowed(""), Headers::new()))
        }
        (Asked::Key(key), ExchangeKind::Topic | ExchangeKind::Direct | ExchangeKind::Fanout) => {
            Some(bound(key, Headers::new()))
        }
        (Asked::Headers(arguments), ExchangeKind::Headers) => {
            // A table without values matches every message.
            (arguments.len() > 1).then(|| bound(&Cow::Borrowed(""), arguments.clone()))
        }
        (
            Asked::Headers(_),
            ExchangeKind::Topic | ExchangeKind::Direct | ExchangeKind::Fanout | ExchangeKind::ConsistentHash,
        ) => None,
    }
}

/// The static headers of an event, but for those that no headers exchange looks at.
fn own_headers(kind: &EventKind) -> Headers {
    let mut arguments: Headers =
        kind.headers.iter().copied().filter(|(name, _)| !name.starts_with("x-")).collect();
    arguments.insert("x-match", Match::All.as_str());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exchange::ExchangeDef, location::Location};

    const fn exchange(name: &'static str, kind: ExchangeKind) -> ExchangeDef {
        ExchangeDef {
            bus: "default",
            name,
            kind,
            durable: true,
            auto_delete: false,
            internal: false,
            alternate: None,
            sources: &[],
            arguments: &[],
            location: Location { module: "tests", file: "tests.rs", line: 1 },
        }
    }

    const TASKS: &ExchangeDef = &exchange("tasks", ExchangeKind::Direct);
    const NEWS: &ExchangeDef = &exchange("news", ExchangeKind::Fanout);
    const REPORTS: &ExchangeDef = &exchange("reports", ExchangeKind::Headers);
    const ORDER: EventKind = EventKind::new("Placed", "Order", "Order.Placed");
    const TASK: EventKind = EventKind::new("Created", "Task", "Task.Created").on(TASKS);
    const NEWS_ITEM: EventKind = EventKind::new("Told", "News", "News.Told").on(NEWS);
    const REPORT: EventKind = EventKind::new("Rendered", "Report", "Report.Rendered")
        .on(REPORTS)
        .headers(&[("format", StaticValue::Str("pdf")), ("x-team", StaticValue::Str("docs"))]);

    /// Exchange and key, or headers, of each binding.
    fn bindings(asked: Option<&[Asked]>, kinds: Option<&[EventKind]>, home: &str) -> Vec<String> {
        let home = ExchangeName::new(home).unwrap();
        let exchanges = Exchanges::new(
            ExchangeName::new("events").unwrap(),
            ExchangeKind::Topic,
            &[TASKS, NEWS, REPORTS],
        );
        let text = |bound: &Bound| {
            let arguments: Vec<_> = bound
                .arguments
                .iter()
                .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or("?")))
                .collect();
            format!("{} {:?} {}", bound.exchange, bound.key, arguments.join(" ")).trim_end().to_owned()
        };
        bound(asked, kinds, &home, &exchanges).unwrap().iter().map(text).collect()
    }

    fn key(text: &'static str) -> Asked {
        Asked::Key(Cow::Borrowed(text))
    }

    #[test]
    fn without_bind_each_exchange_is_asked_for_exactly_the_events() {
        assert_eq!(
            bindings(None, Some(&[ORDER, TASK, NEWS_ITEM, REPORT]), "events"),
            [
                r#"events "Order.Placed""#,
                r#"tasks "Task.Created""#,
                r#"news """#,
                r#"reports "" format=pdf x-match=all"#
            ]
        );
        assert_eq!(bindings(None, None, "news"), [r#"news """#]);
        assert_eq!(bindings(None, None, "events"), [""; 0]);
    }

    #[test]
    fn what_an_exchange_does_not_look_at_asks_for_nothing() {
        let headers = || Asked::Headers([("x-match", "any"), ("format", "pdf")].into_iter().collect());
        let nothing = || Asked::Headers([("x-match", "all")].into_iter().collect());
        for (asked, kinds, home, expected) in [
            (key("#"), None, "events", vec![r##"events "#""##]),
            (key("#"), None, "reports", vec![]),
            (headers(), None, "events", vec![]),
            (headers(), None, "reports", vec![r#"reports "" format=pdf x-match=any"#]),
            (nothing(), None, "reports", vec![]),
            (key("*.Created"), Some([TASK]), "events", vec![]),
            (key("Task.Created"), Some([TASK]), "events", vec![r#"tasks "Task.Created""#]),
            (headers(), Some([REPORT]), "events", vec![r#"reports "" format=pdf x-match=any"#]),
        ] {
            let kinds = kinds.as_ref().map(<[EventKind; 1]>::as_slice);
            assert_eq!(bindings(Some(&[asked]), kinds, home), expected);
        }
    }
}
