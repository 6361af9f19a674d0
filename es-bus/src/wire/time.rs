//! Times as text, the way Python writes them, and as leniently as they can be read.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

/// `2026-01-02T03:04:05.678901Z`, as the body has it: six digits, or none when they would be zeros.
///
/// `None`, and nothing written, outside of the years 1 to 9999.
pub(super) fn write_rfc3339(to: &mut Vec<u8>, at: OffsetDateTime) -> Option<()> {
    write(to, at, b"Z")
}

/// `2026-01-02T03:04:05.678901+00:00`, as Python's `isoformat` has it, which headers hold.
pub(super) fn isoformat(at: OffsetDateTime) -> String {
    let mut text = Vec::with_capacity("2026-01-02T03:04:05.678901+00:00".len());
    write(&mut text, at, b"+00:00")
        .and_then(|()| String::from_utf8(text).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00+00:00".to_owned())
}

/// Digit by digit: by `format!` it takes longer than all else that is written of an envelope.
fn write(to: &mut Vec<u8>, at: OffsetDateTime, zone: &[u8]) -> Option<()> {
    let at = at.checked_to_offset(UtcOffset::UTC)?;
    let year = u32::try_from(at.year()).ok().filter(|year| (1..=9999).contains(year))?;
    let (date, time) = (at.date(), at.time());
    digits(to, year, 1000);
    for (before, number) in [
        (b'-', u8::from(date.month())),
        (b'-', date.day()),
        (b'T', time.hour()),
        (b':', time.minute()),
        (b':', time.second()),
    ] {
        to.extend([before, b'0' + number / 10, b'0' + number % 10]);
    }
    if time.microsecond() > 0 {
        to.push(b'.');
        digits(to, time.microsecond(), 100_000);
    }
    to.extend_from_slice(zone);
    Some(())
}

/// A number in decimal, from the digit that stands for `unit`.
fn digits(to: &mut Vec<u8>, number: u32, mut unit: u32) {
    while unit > 0 {
        // Less than ten, so it fits.
        to.push(b'0' + (number / unit % 10) as u8);
        unit /= 10;
    }
}

/// Reads what RFC 3339 and its looser relatives say: `T` or a space, seconds and fraction or not,
/// any number of digits, `Z`, an offset, or none (which is UTC); a date alone is its midnight.
pub(super) fn parse(text: &str) -> Option<OffsetDateTime> {
    let mut cursor = Cursor(text.trim().as_bytes());
    let year = cursor.digits(4)?;
    cursor.take(b"-")?;
    let month = cursor.digits(2)?;
    cursor.take(b"-")?;
    let day = cursor.digits(2)?;
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    if cursor.0.is_empty() {
        return Some(date.midnight().assume_utc());
    }

    cursor.take(b"Tt ")?;
    let hour = cursor.digits(2)?;
    cursor.take(b":")?;
    let minute = cursor.digits(2)?;
    let (mut second, mut nanos) = (0, 0);
    if cursor.take(b":").is_some() {
        second = cursor.digits(2)?;
        if cursor.take(b".,").is_some() {
            nanos = cursor.fraction()?;
        }
    }
    if second == 60 {
        // A leap second, which no type here can hold, is the end of the second before it.
        (second, nanos) = (59, 999_999_999);
    }
    let [hour, minute, second] = [hour, minute, second].map(|n| u8::try_from(n).unwrap_or(u8::MAX));
    let time = Time::from_hms_nano(hour, minute, second, nanos).ok()?;

    let offset = cursor.offset()?;
    cursor.0.is_empty().then_some(())?;
    PrimitiveDateTime::new(date, time).assume_offset(offset).checked_to_offset(UtcOffset::UTC)
}

/// Reads a number of seconds since the Unix epoch, or of milliseconds when it is too large for that
/// (as pydantic does; the border is the year 2603).
pub(super) fn from_unix(number: f64) -> Option<OffsetDateTime> {
    const WATERSHED: f64 = 2e10;
    let seconds = if number.abs() > WATERSHED { number / 1000.0 } else { number };
    if !seconds.is_finite() || seconds.abs() > 1e12 {
        return None;
    }
    // Microseconds of any year that `time` knows fit 64 bits; the comparison above saw to it.
    let micros = (seconds * 1e6).round() as i128;
    OffsetDateTime::from_unix_timestamp_nanos(micros * 1000).ok()
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn take(&mut self, any_of: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        any_of.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    fn digits(&mut self, count: usize) -> Option<u32> {
        let mut number = 0;
        for _ in 0..count {
            number = number * 10 + u32::from(self.take(b"0123456789")? - b'0');
        }
        Some(number)
    }

    /// Nanoseconds; digits after the ninth are cut off.
    fn fraction(&mut self) -> Option<u32> {
        let (mut nanos, mut unit) = (0, 100_000_000);
        let before = self.0.len();
        while let Some(digit) = self.take(b"0123456789") {
            nanos += u32::from(digit - b'0') * unit;
            unit /= 10;
        }
        (self.0.len() < before).then_some(nanos)
    }

    fn offset(&mut self) -> Option<UtcOffset> {
        if self.0.is_empty() || self.take(b"Zz").is_some() {
            return Some(UtcOffset::UTC);
        }
        let sign = if self.take(b"+-")? == b'-' { -1 } else { 1 };
        let hours = i32::try_from(self.digits(2)?).ok()?;
        let mut minutes = 0;
        if !self.0.is_empty() {
            let _ = self.take(b":");
            minutes = i32::try_from(self.digits(2)?).ok()?;
        }
        (hours < 24 && minutes < 60).then_some(())?;
        UtcOffset::from_whole_seconds(sign * (hours * 3600 + minutes * 60)).ok()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn writes_six_digits_or_none() {
        for (at, expected) in [
            (datetime!(2026-01-02 03:04:05.678901 UTC), "2026-01-02T03:04:05.678901Z"),
            (datetime!(2026-01-02 03:04:05.6 UTC), "2026-01-02T03:04:05.600000Z"),
            (datetime!(2026-01-02 03:04:05 UTC), "2026-01-02T03:04:05Z"),
            (datetime!(2026-01-02 03:04:05.000_000_999 UTC), "2026-01-02T03:04:05Z"),
            (datetime!(2026-01-02 05:04:05 +2), "2026-01-02T03:04:05Z"),
            (datetime!(0001-01-01 00:00 UTC), "0001-01-01T00:00:00Z"),
        ] {
            let mut text = Vec::new();
            assert_eq!(write_rfc3339(&mut text, at), Some(()));
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
        let mut text = Vec::new();
        assert_eq!(write_rfc3339(&mut text, datetime!(-0001-01-01 00:00 UTC)), None);
        assert!(text.is_empty());
        assert_eq!(isoformat(datetime!(2026-11-21 08:44:55.895695 UTC)), "2026-11-21T08:44:55.895695+00:00");
    }

    #[test]
    fn reads_what_others_write() {
        let expected = datetime!(2026-01-02 03:04:05 UTC);
        for text in [
            "2026-01-02T03:04:05Z",
            "2026-01-02t03:04:05z",
            "2026-01-02 03:04:05",
            "2026-01-02T03:04:05+00:00",
            "2026-01-02T05:34:05+02:30",
            "2026-01-01T22:04:05-0500",
            "2026-01-02T04:04:05+01",
            " 2026-01-02T03:04:05.000000000000Z ",
        ] {
            assert_eq!(parse(text), Some(expected), "{text:?}");
        }
        assert_eq!(
            parse("2026-01-02T03:04:05.123456789Z"),
            Some(datetime!(2026-01-02 03:04:05.123456789 UTC))
        );
        assert_eq!(parse("2026-01-02T03:04"), Some(datetime!(2026-01-02 03:04 UTC)));
        assert_eq!(parse("2026-01-02"), Some(datetime!(2026-01-02 00:00 UTC)));
        assert_eq!(parse("2016-12-31T23:59:60Z"), Some(datetime!(2016-12-31 23:59:59.999999999 UTC)));
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "now",
            "2026-13-02T03:04:05Z",
            "2026-02-30T03:04:05Z",
            "2026-01-02T25:04:05Z",
            "2026-01-02T03:04:61Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05+99:00",
            "2026-01-02T03:04:05Z trailing",
            "9999-12-31T23:59:59-23:00",
            "０００１-01-01",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn reads_seconds_and_milliseconds() {
        assert_eq!(from_unix(1_767_323_045.0), Some(datetime!(2026-01-02 03:04:05 UTC)));
        assert_eq!(from_unix(1_767_323_045_678.0), Some(datetime!(2026-01-02 03:04:05.678 UTC)));
        assert_eq!(from_unix(-1.0), Some(datetime!(1969-12-31 23:59:59 UTC)));
        for number in [f64::NAN, f64::INFINITY, 1e300, -1e300, 1e15] {
            assert_eq!(from_unix(number), None, "{number}");
        }
    }
}
