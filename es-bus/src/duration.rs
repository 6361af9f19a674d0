//! Durations and sizes as people write them: `30s`, `1h30m`, `64 KiB`.
//!
//! Text comes in, a [`Duration`] or a [`ByteSize`] goes out, and back again without loss. Reading
//! is strict: a number without a unit, a unit in another case and parts in the wrong order are
//! errors that say what to write instead. Attributes, files and the environment share this reader;
//! next: [`config`](crate::config).
//!
//! `humantime` was weighed and left: to it `30M` is thirty months and a bare `0` is a duration, it
//! prints `1m 30s` where queue names need `1m30s`, and it knows no sizes.

use std::{fmt, str::FromStr, time::Duration};

/// Why a text is no duration or no size. The text of the error says what would do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing to read.
    #[error("is empty, write {example}")]
    Empty {
        /// What would do.
        example: &'static str,
    },
    /// A number stands alone.
    #[error("\"{text}\" has no unit, write \"{proposal}\" (units: {units})")]
    NoUnit {
        /// What was found.
        text: String,
        /// The same number with the likeliest unit.
        proposal: String,
        /// All units there are.
        units: &'static str,
    },
    /// A unit is not known.
    #[error("\"{text}\" has the unknown unit \"{unit}\", write {}", remedy(*proposal, units))]
    UnknownUnit {
        /// What was found.
        text: String,
        /// The unit in it.
        unit: String,
        /// The unit that was probably meant.
        proposal: Option<&'static str>,
        /// All units there are.
        units: &'static str,
    },
    /// A number has a fraction.
    #[error("\"{text}\" has a fraction, write a whole number of a smaller unit ({example})")]
    Fraction {
        /// What was found.
        text: String,
        /// What a fraction is written as.
        example: &'static str,
    },
    /// No number stands where one was expected.
    #[error("\"{text}\" has no whole number before a unit, write {example}")]
    NoNumber {
        /// What was found.
        text: String,
        /// What would do.
        example: &'static str,
    },
    /// Parts are not in falling order, or a unit stands twice.
    #[error("\"{text}\" does not go from the largest unit to the smallest, each once, as in \"1h30m\"")]
    Order {
        /// What was found.
        text: String,
    },
    /// A size has more than one part.
    #[error("\"{text}\" has something after its unit, write one number and one unit, as in \"64 KiB\"")]
    Parts {
        /// What was found.
        text: String,
    },
    /// The value does not fit.
    #[error("\"{text}\" is too large")]
    TooLarge {
        /// What was found.
        text: String,
    },
}

fn remedy(proposal: Option<&'static str>, units: &'static str) -> String {
    match proposal {
        Some(unit) => format!("\"{unit}\" (units: {units})"),
        None => format!("one of {units}"),
    }
}

/// Reads a duration: whole numbers with the units `ns`, `us`, `ms`, `s`, `m`, `h`, `d`, from the
/// largest to the smallest.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// assert_eq!(es_bus::duration::parse("1h30m")?, Duration::from_secs(5400));
/// assert!(es_bus::duration::parse("30").is_err());
/// # Ok::<(), es_bus::duration::Error>(())
/// ```
///
/// # Errors
///
/// Each way in which the text is not such a list; the error says what to write.
pub fn parse(text: &str) -> Result<Duration, Error> {
    let owned = || text.to_owned();
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(Error::Empty { example: "\"30s\"" });
    }
    let mut total: u128 = 0;
    let mut ceiling = u128::MAX;
    while !rest.is_empty() {
        let (number, unit, after) = split_part(rest);
        let amount = whole_number(number, text, "\"30s\"", "\"1s500ms\" for \"1.5s\"")?;
        if unit.is_empty() {
            return Err(Error::NoUnit {
                text: owned(),
                proposal: format!("{}s", text.trim()),
                units: DURATION_UNITS,
            });
        }
        let Some(nanos) = nanos_of(unit) else {
            return Err(Error::UnknownUnit {
                text: owned(),
                unit: unit.to_owned(),
                proposal: meant_duration(unit),
                units: DURATION_UNITS,
            });
        };
        if nanos >= ceiling {
            return Err(Error::Order { text: owned() });
        }
        ceiling = nanos;
        total = u128::from(amount)
            .checked_mul(nanos)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| Error::TooLarge { text: owned() })?;
        rest = after;
    }
    let seconds =
        u64::try_from(total / NANOS_PER_SECOND).map_err(|_too_large| Error::TooLarge { text: owned() })?;
    let nanos = u32::try_from(total % NANOS_PER_SECOND).expect("less than a billion");
    Ok(Duration::new(seconds, nanos))
}

/// Prints a duration so that [`parse`] reads the same one back: `90 s` as `1m30s`, none as `0s`.
#[must_use]
pub fn print(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    let mut text = String::new();
    for (unit, nanos) in UNITS {
        if rest >= *nanos {
            text.push_str(&format!("{}{unit}", rest / nanos));
            rest %= nanos;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// A number of bytes, written with a unit: `512 B`, `64 KiB`, `10 kB`.
///
/// `KiB`, `MiB`, `GiB` are powers of 1024; `kB`, `MB`, `GB` powers of 1000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// The size of that many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = Error;

    /// Reads one whole number and one unit, with or without a space between them.
    fn from_str(text: &str) -> Result<Self, Error> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(Error::Empty { example: "\"64 KiB\"" });
        }
        let (number, unit, after) = split_part(trimmed);
        let amount = whole_number(number, text, "\"64 KiB\"", "\"1536 KiB\" for \"1.5 MiB\"")?;
        if unit.is_empty() {
            return Err(Error::NoUnit {
                text: text.to_owned(),
                // The unit in which a round number was most likely counted.
                proposal: Self(amount).to_string(),
                units: SIZE_UNITS,
            });
        }
        let Some((_, bytes)) = SIZES.iter().find(|(name, _)| *name == unit) else {
            return Err(Error::UnknownUnit {
                text: text.to_owned(),
                unit: unit.to_owned(),
                proposal: meant_size(unit),
                units: SIZE_UNITS,
            });
        };
        if !after.is_empty() {
            return Err(Error::Parts { text: text.to_owned() });
        }
        let bytes = amount.checked_mul(*bytes).ok_or_else(|| Error::TooLarge { text: text.to_owned() })?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for ByteSize {
    /// Prints with the largest unit that divides the size: `65536` as `64 KiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bytes) = SIZES
            .iter()
            .filter(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes))
            .max_by_key(|(_, bytes)| *bytes)
            .unwrap_or(&("B", 1));
        f.pad(&format!("{} {unit}", self.0 / bytes))
    }
}

/// Splits `30s rest` into the number, the unit and what follows it.
fn split_part(text: &str) -> (&str, &str, &str) {
    let number_end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ',' | '_'))).unwrap_or(text.len());
    let (number, rest) = text.split_at(number_end);
    let rest = rest.trim_start();
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    (number, unit, rest.trim_start())
}

fn whole_number(
    number: &str,
    text: &str,
    example: &'static str,
    fraction: &'static str,
) -> Result<u64, Error> {
    if number.bytes().all(|byte| byte.is_ascii_digit()) && !number.is_empty() {
        return number.parse().map_err(|_too_large| Error::TooLarge { text: text.to_owned() });
    }
    if number.contains('.') {
        return Err(Error::Fraction { text: text.to_owned(), example: fraction });
    }
    Err(Error::NoNumber { text: text.to_owned(), example })
}

fn nanos_of(unit: &str) -> Option<u128> {
    let unit = if matches!(unit, "µs" | "μs") { "us" } else { unit };
    UNITS.iter().find(|(name, _)| *name == unit).map(|(_, nanos)| *nanos)
}

/// The unit that was probably meant by a longer or differently written one.
fn meant_duration(unit: &str) -> Option<&'static str> {
    match unit.to_lowercase().as_str() {
        "ns" | "nsec" | "nanos" | "nanosecond" | "nanoseconds" => Some("ns"),
        "us" | "usec" | "micros" | "microsecond" | "microseconds" => Some("us"),
        "ms" | "msec" | "millis" | "millisecond" | "milliseconds" => Some("ms"),
        "s" | "sec" | "secs" | "second" | "seconds" => Some("s"),
        "m" | "min" | "mins" | "minute" | "minutes" => Some("m"),
        "h" | "hr" | "hrs" | "hour" | "hours" => Some("h"),
        "d" | "day" | "days" => Some("d"),
        _ => None,
    }
}

fn meant_size(unit: &str) -> Option<&'static str> {
    match unit.to_lowercase().as_str() {
        "b" | "byte" | "bytes" => Some("B"),
        "k" | "kb" => Some("kB"),
        "ki" | "kib" => Some("KiB"),
        "m" | "mb" => Some("MB"),
        "mi" | "mib" => Some("MiB"),
        "g" | "gb" => Some("GB"),
        "gi" | "gib" => Some("GiB"),
        _ => None,
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;
const DURATION_UNITS: &str = "ms, s, m, h, d";
const SIZE_UNITS: &str = "B, kB, KiB, MB, MiB, GB, GiB";

/// From the largest to the smallest.
const UNITS: &[(&str, u128)] = &[
    ("d", 86_400 * NANOS_PER_SECOND),
    ("h", 3_600 * NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("s", NANOS_PER_SECOND),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        let cases = [
            ("30s", Duration::from_secs(30)),
            ("500ms", Duration::from_millis(500)),
            ("2m", Duration::from_secs(120)),
            ("1h30m", Duration::from_secs(5400)),
            ("1h 30m", Duration::from_secs(5400)),
            ("30 s", Duration::from_secs(30)),
            ("1d", Duration::from_secs(86_400)),
            ("250us", Duration::from_micros(250)),
            ("250µs", Duration::from_micros(250)),
            ("0s", Duration::ZERO),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn says_what_was_wrong_with_a_duration_and_what_would_do() {
        let texts = [
            "",
            "30",
            "0",
            "30 sec",
            "5M",
            "2 weeks",
            "1.5s",
            "s",
            "abc",
            "-5s",
            "30m1h",
            "1s1s",
            "1h30",
            "99999999999999999999s",
            "99999999999999999d",
        ];

        let report: Vec<_> =
            texts.iter().map(|text| format!("{text:?}: {}", parse(text).unwrap_err())).collect();

        insta::assert_snapshot!(report.join("\n"));
    }

    #[test]
    fn prints_the_shortest_exact_form() {
        let cases = [
            (Duration::ZERO, "0s"),
            (Duration::from_secs(90), "1m30s"),
            (Duration::from_secs(60), "1m"),
            (Duration::from_millis(1500), "1s500ms"),
            (Duration::from_secs(86_400), "1d"),
        ];
        for (duration, expected) in cases {
            assert_eq!(print(duration), expected);
        }
    }

    #[test]
    fn reads_sizes() {
        let cases = [
            ("512 B", 512),
            ("64 KiB", 65_536),
            ("64KiB", 65_536),
            ("1 MiB", 1_048_576),
            ("10 kB", 10_000),
            ("2 GB", 2_000_000_000),
            ("0 B", 0),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(ByteSize::from_bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn says_what_was_wrong_with_a_size_and_what_would_do() {
        let texts = [
            "",
            "65536",
            "10000",
            "64 KB",
            "64 k",
            "1 MiB 5 B",
            "1.5 MiB",
            "KiB",
            "5 parsecs",
            "99999999999 GiB",
        ];

        let report: Vec<_> =
            texts.iter().map(|text| format!("{text:?}: {}", text.parse::<ByteSize>().unwrap_err())).collect();

        insta::assert_snapshot!(report.join("\n"));
    }

    proptest! {
        #[test]
        fn a_printed_duration_reads_back(seconds in 0..u64::MAX, nanos in 0..1_000_000_000_u32) {
            let duration = Duration::new(seconds, nanos);

            prop_assert_eq!(parse(&print(duration)), Ok(duration));
        }

        #[test]
        fn a_printed_size_reads_back(bytes in any::<u64>()) {
            let size = ByteSize::from_bytes(bytes);

            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse(&text);
            let _ = text.parse::<ByteSize>();
        }
    }
}
