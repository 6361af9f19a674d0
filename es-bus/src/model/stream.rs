//! Where in a stream somebody begins to read.

use std::{fmt, str::FromStr};

use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// A place in a stream.
///
/// # Examples
///
/// ```
/// use es_bus::model::StreamOffset;
///
/// assert_eq!("first".parse(), Ok(StreamOffset::First));
/// assert_eq!("1042".parse(), Ok(StreamOffset::Offset(1042)));
/// assert_eq!("2026-01-01T00:00:00Z".parse(), Ok(StreamOffset::Timestamp(1_767_225_600)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamOffset {
    /// The oldest message that is still there.
    First,
    /// The messages that were stored together last.
    Last,
    /// The next message that comes.
    Next,
    /// The message of this offset, or the first one after it.
    Offset(u64),
    /// The messages from this time on, in seconds since the Unix epoch; some that are a little older may come too.
    Timestamp(u64),
}

/// A text that names no place in a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no place in a stream, write first, last, next, an offset (1042), or a time (2026-01-31T12:00:00Z)"
)]
pub struct NoStreamOffset(String);

impl FromStr for StreamOffset {
    type Err = NoStreamOffset;

    fn from_str(text: &str) -> Result<Self, NoStreamOffset> {
        let wrong = || NoStreamOffset(text.to_owned());
        match text {
            "first" => Ok(Self::First),
            "last" => Ok(Self::Last),
            "next" => Ok(Self::Next),
            digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                // AMQP has it as a signed number.
                let offset = digits.parse().ok().filter(|offset| i64::try_from(*offset).is_ok());
                offset.map(Self::Offset).ok_or_else(wrong)
            }
            time => {
                let time = OffsetDateTime::parse(time, &Rfc3339).ok();
                let seconds = time.and_then(|time| u64::try_from(time.unix_timestamp()).ok());
                seconds.map(Self::Timestamp).ok_or_else(wrong)
            }
        }
    }
}

impl fmt::Display for StreamOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Last => f.write_str("last"),
            Self::Next => f.write_str("next"),
            Self::Offset(offset) => write!(f, "{offset}"),
            Self::Timestamp(seconds) => {
                let time = i64::try_from(*seconds).ok();
                let time = time.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
                match time.and_then(|time| time.to_offset(UtcOffset::UTC).format(&Rfc3339).ok()) {
                    Some(time) => f.write_str(&time),
                    None => write!(f, "{seconds} s after 1970"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_reads_back_as_itself() {
        for text in ["first", "last", "next", "0", "1042", "2026-01-31T12:00:00Z"] {
            assert_eq!(text.parse::<StreamOffset>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for text in ["", "latest", "-1", "9223372036854775808", "2026-01-31", "1960-01-31T12:00:00Z"] {
            let error = text.parse::<StreamOffset>().unwrap_err().to_string();

            assert!(error.contains("write first, last, next, an offset"), "{error}");
        }
    }
}
