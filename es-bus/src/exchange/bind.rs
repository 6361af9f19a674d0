//! What a handler asks an exchange for.

use std::fmt;

use super::ExchangeKind;
use crate::{event::EventKind, message::StaticValue, topic, wire::names};

/// What one binding of a handler asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bind {
    /// A binding key: what topic and direct exchanges look at.
    Key(&'static str),
    /// Headers: what a headers exchange looks at.
    Headers(HeadersMatch),
}

impl Bind {
    /// Why an exchange of this kind cannot do what the binding asks for.
    #[must_use]
    pub(crate) const fn misfit(&self, kind: ExchangeKind) -> Option<Misfit> {
        match (self, kind) {
            (Self::Key(key), _) => Misfit::of_key(key, kind),
            (Self::Headers(_), ExchangeKind::Headers) => None,
            (Self::Headers(_), ExchangeKind::Topic | ExchangeKind::Direct | ExchangeKind::Fanout) => {
                Some(Misfit::NoHeaders)
            }
            (Self::Headers(_), ExchangeKind::ConsistentHash) => Some(Misfit::Shares),
        }
    }

    /// Whether an exchange of this kind may deliver the event by this binding: for certain where it
    /// looks at keys and the event's has no fields, as far as the event's own headers tell on a headers
    /// exchange.
    #[must_use]
    pub const fn may_take(&self, exchange: ExchangeKind, kind: &EventKind) -> bool {
        match (self, exchange) {
            (Self::Headers(headers), ExchangeKind::Headers) => headers.may_take(kind),
            (
                Self::Headers(_),
                ExchangeKind::Topic
                | ExchangeKind::Direct
                | ExchangeKind::Fanout
                | ExchangeKind::ConsistentHash,
            ) => false,
            (Self::Key(key), _) => exchange.may_deliver(key, kind.key),
        }
    }

    /// The binding key, when it is one.
    #[must_use]
    pub const fn key(&self) -> Option<&'static str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Headers(_) => None,
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => f.write_str(key),
            Self::Headers(headers) => headers.fmt(f),
        }
    }
}

/// Why an exchange cannot do what a binding asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// A direct exchange takes `*` and `#` literally.
    Pattern,
    /// A fanout exchange looks at no key.
    NoKeys,
    /// A headers exchange looks at headers only.
    OnlyHeaders,
    /// Only a headers exchange looks at headers.
    NoHeaders,
    /// A consistent-hash exchange gives each of its queues a share of everything.
    Shares,
}

impl Misfit {
    /// Why an exchange of this kind cannot do what a binding key asks for.
    #[must_use]
    pub(crate) const fn of_key(key: &str, kind: ExchangeKind) -> Option<Self> {
        match kind {
            ExchangeKind::Direct if topic::is_pattern(key) => Some(Self::Pattern),
            // `#` asks for everything, and that is what comes.
            ExchangeKind::Fanout if !topic::is_same(key, "#") => Some(Self::NoKeys),
            ExchangeKind::Headers => Some(Self::OnlyHeaders),
            // Not even `#`: a share is not everything.
            ExchangeKind::ConsistentHash => Some(Self::Shares),
            ExchangeKind::Topic | ExchangeKind::Direct | ExchangeKind::Fanout => None,
        }
    }
}

/// The headers that a message has to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeadersMatch {
    /// Whether one of them is enough.
    pub mode: Match,
    /// Names and values.
    pub values: &'static [(&'static str, StaticValue)],
}

/// How many of the headers of a binding a message has to have: AMQP's `x-match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// Each of them.
    All,
    /// At least one of them.
    Any,
}

impl Match {
    /// The word that AMQP has for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Any => "any",
        }
    }
}

impl HeadersMatch {
    /// The first of these headers that the event always has another value of, and that value.
    #[must_use]
    pub(crate) const fn contradicted(&self, kind: &EventKind) -> Option<(&'static str, StaticValue)> {
        let mut i = 0;
        while i < self.values.len() {
            let (name, wanted) = self.values[i];
            if let Some(value) = always(kind, name)
                && !value.is_same(wanted)
            {
                return Some((name, value));
            }
            i += 1;
        }
        None
    }

    /// Whether a message of this event may have these headers: `false` only when the headers that
    /// every such message has say otherwise. What a publish adds is not known here.
    #[must_use]
    pub const fn may_take(&self, kind: &EventKind) -> bool {
        let mut may_one = false;
        let mut i = 0;
        while i < self.values.len() {
            let (name, wanted) = self.values[i];
            let may = match always(kind, name) {
                Some(value) => value.is_same(wanted),
                None => true,
            };
            match self.mode {
                Match::All if !may => return false,
                Match::All | Match::Any => may_one = may_one || may,
            }
            i += 1;
        }
        may_one
    }
}

/// The value of a header that every message of an event has.
const fn always(kind: &EventKind, name: &str) -> Option<StaticValue> {
    if topic::is_same(name, names::EVENT_TYPE) {
        return Some(StaticValue::Str(kind.name));
    }
    if topic::is_same(name, names::AGGREGATE_TYPE) {
        return Some(StaticValue::Str(kind.aggregate));
    }
    let mut i = 0;
    while i < kind.headers.len() {
        if topic::is_same(kind.headers[i].0, name) {
            return Some(kind.headers[i].1);
        }
        i += 1;
    }
    None
}

/// As it is written in an attribute: `headers(match = "all", format = "pdf")`.
impl fmt::Display for HeadersMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "headers(match = {:?}", self.mode.as_str())?;
        for (name, value) in self.values {
            write!(f, ", {name} = {value}")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PDF: EventKind = EventKind::new("Rendered", "Report", "Report.Rendered")
        .headers(&[("format", StaticValue::Str("pdf")), ("pages", StaticValue::Int(3))]);

    #[test]
    fn what_an_event_always_says_may_rule_a_binding_out() {
        const FORMAT: (&str, StaticValue) = ("format", StaticValue::Str("pdf"));
        const CSV: (&str, StaticValue) = ("format", StaticValue::Str("csv"));
        const LANGUAGE: (&str, StaticValue) = ("language", StaticValue::Str("de"));
        const TYPE: (&str, StaticValue) = ("event_type", StaticValue::Str("Printed"));
        const TEXT: (&str, StaticValue) = ("pages", StaticValue::Str("3"));
        let cases: [(Match, &'static [_], bool); 8] = [
            (Match::All, &[FORMAT], true),
            (Match::All, &[FORMAT, LANGUAGE], true),
            (Match::All, &[FORMAT, TYPE], false),
            (Match::All, &[CSV, LANGUAGE], false),
            (Match::All, &[TEXT], false),
            (Match::Any, &[CSV, LANGUAGE], true),
            (Match::Any, &[CSV, FORMAT], true),
            (Match::Any, &[CSV, TYPE], false),
        ];
        for (mode, values, expected) in cases {
            let headers = HeadersMatch { mode, values };
            assert_eq!(headers.may_take(&PDF), expected, "{headers}");
        }
    }

    #[test]
    fn prints_as_it_is_written() {
        let headers = HeadersMatch {
            mode: Match::Any,
            values: &[
                ("format", StaticValue::Str("pdf")),
                ("pages", StaticValue::Int(3)),
                ("draft", StaticValue::Bool(false)),
            ],
        };

        assert_eq!(
            Bind::Headers(headers).to_string(),
            r#"headers(match = "any", format = "pdf", pages = 3, draft = false)"#
        );
    }
}
