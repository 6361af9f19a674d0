//! The fields of the envelope in a body, and what was read of them.

use std::{borrow::Cow, fmt, ops::Range};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, Visitor},
};
use serde_json::{Map, Value as Json};
use time::OffsetDateTime;

use super::time::{from_unix, parse};

/// The names that the envelope uses in a body, in the order in which they are written. An event
/// whose own fields stand beside them can have none of these.
pub const ENVELOPE_FIELDS: [&str; 12] = [
    "event_id",
    "event_type",
    "event_version",
    "occurred_at",
    "aggregate_id",
    "aggregate_type",
    "aggregate_version",
    "tenant_id",
    "actor_id",
    "correlation_id",
    "causation_id",
    "metadata",
];

/// The name, when it is one that the envelope uses in a body.
pub(super) fn envelope_field(name: &str) -> Option<&'static str> {
    ENVELOPE_FIELDS.into_iter().find(|field| *field == name)
}

/// What a body says in the fields of the envelope; `None` is a field that is absent or null.
///
/// It is read because it has to be right, and mostly not asked for: so texts are not copied out of the
/// body, and what holds this does not borrow from it either.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) event_id: Option<Part>,
    pub(super) event_type: Option<Part>,
    pub(super) event_version: Option<u64>,
    pub(super) occurred_at: Option<OffsetDateTime>,
    pub(super) aggregate_id: Option<Part>,
    pub(super) aggregate_type: Option<Part>,
    pub(super) aggregate_version: Option<u64>,
    pub(super) tenant_id: Option<Part>,
    pub(super) actor_id: Option<Part>,
    pub(super) correlation_id: Option<Part>,
    pub(super) causation_id: Option<Part>,
    pub(super) metadata: Map<String, Json>,
}

/// A text of a body.
#[derive(Debug)]
pub(super) enum Part {
    /// Where it stands, as it is.
    There(Range<usize>),
    /// Itself, when the body has it with escapes, or has a number.
    Own(String),
}

impl Part {
    fn of(text: Cow<'_, str>, body: &[u8]) -> Self {
        match text {
            Cow::Borrowed(text) => {
                let at = text.as_ptr().addr() - body.as_ptr().addr();
                Self::There(at..at + text.len())
            }
            Cow::Owned(text) => Self::Own(text),
        }
    }

    /// The text, out of the body that it was read from.
    pub(super) fn text(self, body: &[u8]) -> String {
        match self {
            Self::There(range) => String::from_utf8_lossy(&body[range]).into_owned(),
            Self::Own(text) => text,
        }
    }
}

impl Fields {
    /// Reads the value under `name`, out of `body`, if it is one of [`ENVELOPE_FIELDS`], and says whether
    /// it is; of two the last counts.
    pub(super) fn read<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        body: &'de [u8],
    ) -> Result<bool, A::Error> {
        match name {
            "event_id" => self.event_id = text(map, body)?,
            "event_type" => self.event_type = text(map, body)?,
            "event_version" => self.event_version = version(map, u64::from(u32::MAX))?,
            "occurred_at" => self.occurred_at = time(map)?,
            "aggregate_id" => self.aggregate_id = text(map, body)?,
            "aggregate_type" => self.aggregate_type = text(map, body)?,
            "aggregate_version" => self.aggregate_version = version(map, u64::MAX)?,
            "tenant_id" => self.tenant_id = text(map, body)?,
            "actor_id" => self.actor_id = text(map, body)?,
            "correlation_id" => self.correlation_id = text(map, body)?,
            "causation_id" => self.causation_id = text(map, body)?,
            "metadata" => {
                self.metadata = map.next_value::<Option<Map<String, Json>>>()?.unwrap_or_default();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn text<'de, A: MapAccess<'de>>(map: &mut A, body: &'de [u8]) -> Result<Option<Part>, A::Error> {
    Ok(match map.next_value_seed(ScalarSeed("a string"))? {
        Scalar::Null => None,
        Scalar::Text(text) => Some(Part::of(text, body)),
        Scalar::Integer(number) => Some(Part::Own(number.to_string())),
        Scalar::Float(number) => Some(Part::Own(number.to_string())),
    })
}

fn version<'de, A: MapAccess<'de>>(map: &mut A, max: u64) -> Result<Option<u64>, A::Error> {
    let scalar = map.next_value_seed(ScalarSeed("a whole number from 1"))?;
    let number = match &scalar {
        Scalar::Null => return Ok(None),
        Scalar::Text(text) => whole(text.trim()),
        Scalar::Integer(number) => Some(*number),
        Scalar::Float(number) => whole(&number.to_string()),
    };
    match number.and_then(|number| u64::try_from(number).ok()) {
        Some(number) if (1..=max).contains(&number) => Ok(Some(number)),
        _ => Err(Error::custom(format_args!("{scalar} is not a whole number from 1 to {max}"))),
    }
}

/// `3`, and `3.0` as some write it.
fn whole(text: &str) -> Option<i128> {
    let digits = text
        .split_once('.')
        .map_or(text, |(digits, zeros)| if zeros.bytes().all(|digit| digit == b'0') { digits } else { text });
    digits.parse().ok()
}

fn time<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<OffsetDateTime>, A::Error> {
    let scalar = map.next_value_seed(ScalarSeed("a time as RFC 3339 writes it"))?;
    let time = match &scalar {
        Scalar::Null => return Ok(None),
        Scalar::Text(text) => parse(text),
        Scalar::Integer(number) => from_unix(*number as f64),
        Scalar::Float(number) => from_unix(*number),
    };
    time.map(Some).ok_or_else(|| {
        Error::custom(format_args!("{scalar} is not a time as RFC 3339 writes it (2026-01-02T03:04:05Z)"))
    })
}

/// A JSON value that is neither array nor object.
enum Scalar<'de> {
    Null,
    Text(Cow<'de, str>),
    Integer(i128),
    Float(f64),
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Text(text) => write!(f, "{:?}", super::error::cut(text, 128)),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
        }
    }
}

/// Reads a scalar; says what it wanted when it finds something else.
struct ScalarSeed(&'static str);

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_unit<E: Error>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text)))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Integer(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Integer(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Float(number))
    }

    /// A number, when some crate of the program switched on serde_json's `arbitrary_precision`:
    /// every number is then a map of one entry.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        match map.next_key::<String>()? {
            Some(key) if key == "$serde_json::private::Number" => {
                let text: String = map.next_value()?;
                if let Ok(number) = text.parse() {
                    return Ok(Scalar::Integer(number));
                }
                text.parse().map(Scalar::Float).map_err(Error::custom)
            }
            _ => Err(Error::invalid_type(serde::de::Unexpected::Map, &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error as ValueError, MapDeserializer};

    use super::*;

    #[test]
    fn reads_numbers_of_arbitrary_precision() {
        let number = |text: &'static str| {
            let map = [("$serde_json::private::Number", text)].into_iter();
            ScalarSeed("a number").deserialize(MapDeserializer::<_, ValueError>::new(map))
        };

        assert!(matches!(number("17"), Ok(Scalar::Integer(17))));
        assert!(matches!(number("1.5"), Ok(Scalar::Float(1.5))));
        assert!(number("x").is_err());
    }
}
