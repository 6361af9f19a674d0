//! What can be wrong with an event that is written, with a message that is read, with a size.

use std::{borrow::Cow, fmt};

/// An event that cannot be written as a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A field of the event has the name of one of the envelope's.
    #[error(
        "event `{event}` has a field `{field}`, which is a field of the envelope; rename it, or set `payload = \"nested\"` on the event"
    )]
    ReservedField {
        /// The event type.
        event: &'static str,
        /// The name of the field, as it stands in the JSON.
        field: &'static str,
    },
    /// The event is no JSON object, so that its fields cannot stand beside the envelope's.
    #[error(
        "event `{event}` is written as {found}, and not as a JSON object; set `payload = \"nested\"` on the event"
    )]
    NotAnObject {
        /// The event type.
        event: &'static str,
        /// What it is instead.
        found: &'static str,
    },
    /// The event's `Serialize` failed, or it cannot be JSON.
    #[error("event `{event}` cannot be written as JSON")]
    Json {
        /// The event type.
        event: &'static str,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
    /// The event id is an empty text.
    #[error("event `{event}` has an empty event id; leave it out to have one made")]
    EmptyEventId {
        /// The event type.
        event: &'static str,
    },
    /// The time lies outside of the years 1 to 9999, which is all that RFC 3339 and Python can say.
    #[error("event `{event}` occurred outside of the years 1 to 9999")]
    OccurredAt {
        /// The event type.
        event: &'static str,
    },
}

/// A message that is not what it says.
///
/// The text names the field and the place, and is at most 1 KiB long whatever the message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(String);

impl DecodeError {
    const MAX_LEN: usize = 1024;

    pub(super) fn new(text: &str) -> Self {
        let text: String = if text.chars().any(char::is_control) {
            // What is printed has to stay on its line.
            text.chars().take(Self::MAX_LEN).flat_map(printable).collect()
        } else {
            text.into()
        };
        Self(cut(&text, Self::MAX_LEN).into_owned())
    }
}

fn printable(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    escaped.is_none().then_some(c).into_iter().chain(escaped.into_iter().flatten())
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

/// Something that is longer than AMQP, or the broker, takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has {size} bytes; at most {limit} can be sent")]
pub struct TooLarge {
    /// What is too large.
    pub what: Cow<'static, str>,
    /// How large it is, in bytes.
    pub size: usize,
    /// How large it may be, in bytes.
    pub limit: usize,
}

/// A text of at most `limit` bytes: the beginning of a longer one, ended by `…`.
pub(crate) fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    const MARK: &str = "…";
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    if limit < MARK.len() {
        return Cow::Borrowed("");
    }
    let mut end = limit - MARK.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}{MARK}", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_on_a_character_boundary() {
        for (text, limit, expected) in
            [("abc", 3, "abc"), ("abcdef", 5, "ab…"), ("ööööö", 6, "ö…"), ("ööööö", 7, "öö…"), ("abc", 2, "")]
        {
            assert_eq!(cut(text, limit), expected, "{text:?} at {limit}");
        }
    }

    #[test]
    fn a_decode_error_stays_short_and_on_one_line() {
        let error = DecodeError::new(&"\u{0}ü\n".repeat(100_000));

        assert!(error.to_string().len() <= 1024);
        assert!(error.to_string().starts_with("\\u{0}ü\\n"));
    }
}
