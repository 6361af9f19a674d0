//! A name that is made of other names.

use std::{fmt, str::FromStr};

/// A text with placeholders, as in `{queue}.dead`: `{exchange}` is the home exchange of the group,
/// `{group}` its name, `{queue}` its queue, `{dlq_exchange_suffix}` the setting of the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

/// What the placeholders of a [`Template`] stand for.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// `{exchange}`.
    pub exchange: &'a str,
    /// `{group}`.
    pub group: &'a str,
    /// `{queue}`; the name of the queue itself cannot hold it.
    pub queue: &'a str,
    /// `{dlq_exchange_suffix}`.
    pub dlq_exchange_suffix: &'a str,
}

/// The placeholders that there are.
const KNOWN: [&str; 4] = ["{exchange}", "{group}", "{queue}", "{dlq_exchange_suffix}"];

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTemplate {
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// A name cannot be like this.
    #[error("{0:?} begins or ends with a blank, or holds a control character")]
    Blank(String),
    /// A placeholder that stands for nothing.
    #[error("{text:?} has the unknown placeholder {found:?}, known are {}", KNOWN.join(", "))]
    Unknown {
        /// The text.
        text: String,
        /// From its brace on.
        found: String,
    },
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        if text.is_empty() {
            return Err(InvalidTemplate::Empty);
        }
        if text.trim() != text || text.contains(char::is_control) {
            return Err(InvalidTemplate::Blank(text.to_owned()));
        }
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let placeholder = &rest[at..];
            let Some(known) = KNOWN.iter().find(|known| placeholder.starts_with(**known)) else {
                let end = placeholder.find('}').map_or(placeholder.len(), |end| end + 1);
                let found = placeholder[..end].to_owned();
                return Err(InvalidTemplate::Unknown { text: text.to_owned(), found });
            };
            rest = &placeholder[known.len()..];
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Template {
    /// The name, every placeholder replaced.
    #[must_use]
    pub fn fill(&self, filling: Filling<'_>) -> String {
        let Filling { exchange, group, queue, dlq_exchange_suffix } = filling;
        let mut filled = String::new();
        let mut rest = self.0.as_str();
        // In one pass: what is filled in may hold braces of its own.
        while let Some(at) = rest.find('{') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let (known, value) = KNOWN
                .into_iter()
                .zip([exchange, group, queue, dlq_exchange_suffix])
                .find(|(known, _)| rest.starts_with(known))
                .expect("checked when it was parsed");
            filled.push_str(value);
            rest = &rest[known.len()..];
        }
        filled.push_str(rest);
        filled
    }

    /// Whether the name of the queue is a part of it.
    #[must_use]
    pub fn names_queue(&self) -> bool {
        self.0.contains("{queue}")
    }

    /// The template as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILLING: Filling<'_> =
        Filling { exchange: "{group}", group: "audit", queue: "events.audit", dlq_exchange_suffix: "_dlq" };

    fn filled(text: &str) -> String {
        text.parse::<Template>().unwrap().fill(FILLING)
    }

    #[test]
    fn fills_every_placeholder_once() {
        assert_eq!(filled("dlq.events"), "dlq.events");
        assert_eq!(filled("{queue}.dead"), "events.audit.dead");
        assert_eq!(filled("{exchange}{dlq_exchange_suffix}"), "{group}_dlq");
        assert_eq!(filled("{group}-{group}"), "audit-audit");
    }

    #[test]
    fn refuses_what_would_stay_in_the_name() {
        for text in ["", " a", "a\n", "{qeue}.dead", "{queue", "a}", "{{queue}}"] {
            assert!(text.parse::<Template>().is_err(), "{text:?}");
        }
        assert_eq!(
            "{qeue}.dead".parse::<Template>().unwrap_err().to_string(),
            "\"{qeue}.dead\" has the unknown placeholder \"{qeue}\", known are {exchange}, {group}, {queue}, \
             {dlq_exchange_suffix}"
        );
    }
}
