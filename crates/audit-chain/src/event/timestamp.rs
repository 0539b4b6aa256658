//! The time of an event: RFC 3339 in UTC with milliseconds and `Z`.
//!
//! Written by hand because every event passes here several times, and the `time` crate's formatter takes ten
//! times as long.

use time::{Date, Month, OffsetDateTime, Time};

/// Appends a time. `unix_millis` is at most [`crate::event::limits::MAX_UNIX_MILLIS`].
///
/// # Panics
/// For a time after the year 9999.
pub(crate) fn write_time(out: &mut Vec<u8>, unix_millis: u64) {
    let nanos = i128::from(unix_millis) * 1_000_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .expect("Event::new bounds the time to the year 9999");
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, milli) = at.to_hms_milli();
    write_digits::<4>(out, year.unsigned_abs());
    for (mark, number) in [(b'-', u8::from(month)), (b'-', day), (b'T', hour), (b':', minute), (b':', second)]
    {
        out.push(mark);
        write_digits::<2>(out, number.into());
    }
    out.push(b'.');
    write_digits::<3>(out, milli.into());
    out.push(b'Z');
}

/// Appends the last `N` decimal digits of `number`.
fn write_digits<const N: usize>(out: &mut Vec<u8>, mut number: u32) {
    let mut digits = [0; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Reads text that has the shape of [`write_time`]'s output. `None` for a day or an hour that does not exist,
/// and before 1970.
pub(crate) fn parse_time(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u16>().ok();
    let byte = |from, to| u8::try_from(number(from, to)?).ok();
    let month = Month::try_from(byte(5, 7)?).ok()?;
    let date = Date::from_calendar_date(number(0, 4)?.into(), month, byte(8, 10)?).ok()?;
    let time = Time::from_hms_milli(byte(11, 13)?, byte(14, 16)?, byte(17, 19)?, number(20, 23)?).ok()?;
    let nanos = OffsetDateTime::new_utc(date, time).unix_timestamp_nanos();
    u64::try_from(nanos / 1_000_000).ok().filter(|_| nanos >= 0)
}
