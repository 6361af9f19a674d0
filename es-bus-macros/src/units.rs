//! Durations and sizes as people write them: `30s`, `1h30m`, `64 KiB`.
//!
//! The grammar is that of the configuration, which reads the same texts again at start-up: whole
//! numbers with units, from the largest unit to the smallest.

use std::time::Duration;

const UNITS: &[(&str, u128)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
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

/// Reads a duration.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("is empty, write for example \"30s\"".to_owned());
    }
    let (mut total, mut ceiling) = (0_u128, u128::MAX);
    while !rest.is_empty() {
        let (number, unit, after) = split(rest);
        let amount = whole(number, "\"1s500ms\" for \"1.5s\"")?;
        if unit.is_empty() {
            return Err(format!("has no unit, write \"{}s\" (units: ms, s, m, h, d)", text.trim()));
        }
        let unit = if matches!(unit, "µs" | "μs") { "us" } else { unit };
        let Some((_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("has the unknown unit \"{unit}\", use one of ms, s, m, h, d"));
        };
        if *nanos >= ceiling {
            return Err("has to go from the largest unit to the smallest, each once: \"1h30m\"".to_owned());
        }
        ceiling = *nanos;
        total = u128::from(amount)
            .checked_mul(*nanos)
            .and_then(|part| total.checked_add(part))
            .ok_or("is too large")?;
        rest = after;
    }
    let seconds = u64::try_from(total / 1_000_000_000).map_err(|_| "is too large")?;
    let nanos = u32::try_from(total % 1_000_000_000).map_err(|_| "is too large")?;
    Ok(Duration::new(seconds, nanos))
}

/// Reads a number of bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty, write for example \"64 KiB\"".to_owned());
    }
    let (number, unit, after) = split(text);
    let amount = whole(number, "\"1536 KiB\" for \"1.5 MiB\"")?;
    if unit.is_empty() {
        return Err(format!("has no unit, write \"{text} B\" (units: B, kB, KiB, MB, MiB, GB, GiB)"));
    }
    let Some((_, bytes)) = SIZES.iter().find(|(name, _)| *name == unit && after.is_empty()) else {
        return Err(format!(
            "has the unknown unit \"{unit}{after}\", use one of B, kB, KiB, MB, MiB, GB, GiB"
        ));
    };
    amount.checked_mul(*bytes).ok_or_else(|| "is too large".to_owned())
}

/// Splits `30s rest` into number, unit and what follows.
fn split(text: &str) -> (&str, &str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ',' | '_')));
    let (number, rest) = text.split_at(end.unwrap_or(text.len()));
    let rest = rest.trim_start();
    let end = rest.find(|c: char| c.is_ascii_digit() || c.is_whitespace());
    let (unit, rest) = rest.split_at(end.unwrap_or(rest.len()));
    (number, unit, rest.trim_start())
}

fn whole(number: &str, instead: &str) -> Result<u64, String> {
    if number.contains('.') {
        return Err(format!("has a fraction, write a whole number of a smaller unit ({instead})"));
    }
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("has no whole number before its unit".to_owned());
    }
    number.parse().map_err(|_| "is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations_as_the_configuration_does() {
        for (text, ms) in
            [("500ms", 500), ("30s", 30_000), ("1h30m", 5_400_000), ("1m 30s", 90_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "30", "1.5s", "30 sec", "30s1h", "1s1s", "s", "-1s", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_sizes_as_the_configuration_does() {
        for (text, bytes) in [("512 B", 512), ("64 KiB", 65_536), ("10kB", 10_000), ("1 GiB", 1 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "64", "1.5 MiB", "64 kib", "1 KiB 2 B", "MiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
