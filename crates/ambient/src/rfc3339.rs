//! The text form of an instant in responses: RFC 3339 with three decimals, e.g. `2026-02-16T12:00:00.000Z`.
//!
//! Use it as `#[serde(with = "rfc3339")]` in a response. The width is fixed, so clients can compare the texts
//! and parse them with one pattern. Digits below a millisecond are cut off. Stored records keep their own
//! format.

use serde::Serializer;
use time::OffsetDateTime;

/// Formats an instant. An offset other than UTC stays in the text.
#[must_use]
pub fn format(at: OffsetDateTime) -> String {
    let ((year, month, day), (hour, minute, second, milli)) = (at.to_calendar_date(), at.to_hms_milli());
    // Digit by digit, because `format!` took 5 % of the processor time of a scan.
    let mut text = String::with_capacity("2026-02-16T12:00:00.000+00:00".len());
    if year < 0 {
        text.push('-');
    }
    let year = year.unsigned_abs();
    push_two_digits(&mut text, year / 100);
    for (number, after) in [
        (year % 100, '-'),
        (u8::from(month).into(), '-'),
        (day.into(), 'T'),
        (hour.into(), ':'),
        (minute.into(), ':'),
        (second.into(), '.'),
    ] {
        push_two_digits(&mut text, number);
        text.push(after);
    }
    push_digit(&mut text, u32::from(milli) / 100);
    push_two_digits(&mut text, u32::from(milli) % 100);
    if at.offset().is_utc() {
        text.push('Z');
        return text;
    }
    let (hours, minutes, _) = at.offset().as_hms();
    text.push(if at.offset().is_negative() { '-' } else { '+' });
    push_two_digits(&mut text, hours.unsigned_abs().into());
    text.push(':');
    push_two_digits(&mut text, minutes.unsigned_abs().into());
    text
}

/// Appends a number below 100. A year fits in two of them, because `time` has no year after 9999.
fn push_two_digits(text: &mut String, number: u32) {
    push_digit(text, number / 10);
    push_digit(text, number % 10);
}

fn push_digit(text: &mut String, digit: u32) {
    text.push(char::from_digit(digit, 10).unwrap_or('?'));
}

/// Serializes an instant.
///
/// # Errors
/// Returns the errors of the serializer.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's `with` passes a reference")]
pub fn serialize<S: Serializer>(at: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*at))
}

/// The same format for an optional instant.
pub mod option {
    use serde::Serializer;
    use time::OffsetDateTime;

    /// Serializes an instant, or null.
    ///
    /// # Errors
    /// Returns the errors of the serializer.
    #[allow(clippy::ref_option, reason = "serde's `with` passes a reference")]
    pub fn serialize<S: Serializer>(at: &Option<OffsetDateTime>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => super::serialize(at, serializer),
            None => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::format;

    #[test]
    fn an_instant_has_three_decimals() {
        for (at, text) in [
            (datetime!(2026-02-16 12:00 UTC), "2026-02-16T12:00:00.000Z"),
            (datetime!(2026-02-16 12:00:00.1 UTC), "2026-02-16T12:00:00.100Z"),
            (datetime!(2026-02-16 12:00:00.123_999 UTC), "2026-02-16T12:00:00.123Z"),
            (datetime!(2026-03-01 00:30 +02:00), "2026-03-01T00:30:00.000+02:00"),
            (datetime!(2026-03-01 00:30:00.5 -09:30), "2026-03-01T00:30:00.500-09:30"),
            (datetime!(0001-01-01 00:00 UTC), "0001-01-01T00:00:00.000Z"),
            (datetime!(1969-12-31 23:59:59.5 UTC), "1969-12-31T23:59:59.500Z"),
        ] {
            assert_eq!(format(at), text);
        }
    }
}
