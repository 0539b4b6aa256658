//! The audit event: what a caller says happened, checked once, with the canonical bytes that are hashed and stored.
//!
//! An [`Event`] cannot be built wrong: its members are typed, its integers fit every JSON reader, and its bytes are at
//! most [`MAX_EVENT_BYTES`]. It fails to be built with an [`EventError`], and to be read back with a [`NotCanonical`].
//! Time, id and nonce come in as arguments, so that the same call can be made again with the same bytes.

pub(crate) mod canonical;

use self::canonical::{NotCanonical, RawDetail, scan, unescape, utf16_order, write_string};
use std::io::Write as _;
use std::net::IpAddr;
use time::{Date, Month, OffsetDateTime, Time};
use uuid::Uuid;

/// The most bytes an event's canonical form may have (the public contract, docs/contract.md §8).
pub const MAX_EVENT_BYTES: usize = 16 * 1024;

/// 2^53 − 1: the largest integer that every JSON reader keeps exact (RFC 8785 §3.2.2.3, RFC 7493 §2.2).
pub const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// 9999-12-31T23:59:59.999Z in Unix milliseconds: the last instant RFC 3339 can write.
const MAX_UNIX_MILLIS: u64 = 253_402_300_799_999;

/// Why an event cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The id is not a version 7 UUID of RFC 9562.
    #[error("the event id is not a version 7 UUID")]
    IdVersion,
    /// The time lies beyond the year 9999.
    #[error("the event time of {unix_millis} ms lies beyond the year 9999")]
    Time {
        /// The time given, in Unix milliseconds.
        unix_millis: u64,
    },
    /// An integer lies outside ±(2^53−1).
    #[error("the integer {0} lies outside ±(2^53−1)")]
    Integer(i128),
    /// The canonical bytes are too many.
    #[error("the event has {bytes} bytes of at most {MAX_EVENT_BYTES}")]
    TooLarge {
        /// The length of the canonical bytes.
        bytes: usize,
    },
}

/// An integer within ±(2^53−1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SafeInt(i64);

impl SafeInt {
    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for SafeInt {
    type Error = EventError;

    fn try_from(value: i64) -> Result<Self, EventError> {
        if value.unsigned_abs() > MAX_SAFE_INTEGER.unsigned_abs() {
            return Err(EventError::Integer(value.into()));
        }
        Ok(Self(value))
    }
}

impl TryFrom<u64> for SafeInt {
    type Error = EventError;

    fn try_from(value: u64) -> Result<Self, EventError> {
        i64::try_from(value).map_err(|_| EventError::Integer(value.into()))?.try_into()
    }
}

/// A value in an event's `details`: flat, and without floats, whose text form readers disagree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DetailValue {
    /// A string.
    Str(String),
    /// True or false.
    Bool(bool),
    /// Null.
    Null,
    /// An integer within ±(2^53−1).
    Int(SafeInt),
}

impl From<&str> for DetailValue {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for DetailValue {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

impl From<bool> for DetailValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for DetailValue {
    fn from(value: u32) -> Self {
        Self::Int(SafeInt(value.into()))
    }
}

impl From<i32> for DetailValue {
    fn from(value: i32) -> Self {
        Self::Int(SafeInt(value.into()))
    }
}

impl From<SafeInt> for DetailValue {
    fn from(value: SafeInt) -> Self {
        Self::Int(value)
    }
}

impl<T: Into<DetailValue>> From<Option<T>> for DetailValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// An event's `details`: a flat map, kept in the order of its canonical form (keys by UTF-16 code units).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details(Vec<(String, DetailValue)>);

impl Details {
    /// No details.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The same details and one more; a key given twice keeps the later value.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<DetailValue>) -> Self {
        self.insert(key, value);
        self
    }

    /// Puts one detail in, and gives back what the key held before.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<DetailValue>) -> Option<DetailValue> {
        let (key, value) = (key.into(), value.into());
        match self.0.binary_search_by(|(other, _)| utf16_order(other, &key)) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }

    /// What `key` holds.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&DetailValue> {
        let at = self.0.binary_search_by(|(other, _)| utf16_order(other, key)).ok()?;
        Some(&self.0[at].1)
    }

    /// Keys and values in canonical order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &DetailValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }
}

impl<K: Into<String>, V: Into<DetailValue>> FromIterator<(K, V)> for Details {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        pairs.into_iter().fold(Self::new(), |details, (key, value)| details.with(key, value))
    }
}

/// What a caller says happened. [`Event::new`] stamps it with time, id and nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// In whose name.
    pub tenant: String,
    /// Who did it, e.g. `key/<id>`.
    pub actor: String,
    /// What was done, e.g. `batch.created`.
    pub action: String,
    /// To what: `<kind>/<public id>`.
    pub resource: String,
    /// The request that did it.
    pub request_id: String,
    /// From which address.
    pub ip: Option<IpAddr>,
    /// What else there is to say.
    pub details: Details,
}

/// One audit event with its canonical bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    id: Uuid,
    unix_millis: u64,
    nonce: [u8; 16],
    what: NewEvent,
    payload: Vec<u8>,
}

impl Event {
    /// An event of the time `unix_millis` (Unix milliseconds). The nonce keeps a published hash from being guessed
    /// back into its event.
    ///
    /// # Errors
    /// [`EventError::IdVersion`], [`EventError::Time`], or [`EventError::TooLarge`] beyond [`MAX_EVENT_BYTES`].
    pub fn new(unix_millis: u64, id: Uuid, nonce: [u8; 16], what: NewEvent) -> Result<Self, EventError> {
        if id.get_version_num() != 7 || id.get_variant() != uuid::Variant::RFC4122 {
            return Err(EventError::IdVersion);
        }
        if unix_millis > MAX_UNIX_MILLIS {
            return Err(EventError::Time { unix_millis });
        }
        let payload = canonical_bytes(unix_millis, id, &nonce, &what);
        if payload.len() > MAX_EVENT_BYTES {
            return Err(EventError::TooLarge { bytes: payload.len() });
        }
        Ok(Self { id, unix_millis, nonce, what, payload })
    }

    /// Reads an event back from its stored bytes, which must be exactly its canonical form.
    ///
    /// # Errors
    /// [`NotCanonical`] with the offset of the first byte that does not fit.
    pub fn parse(payload: &[u8]) -> Result<Self, NotCanonical> {
        let mut details = Vec::new();
        let raw = scan(payload, |key, value| {
            let value = match value {
                RawDetail::Str(raw) => DetailValue::Str(unescape(raw).into_owned()),
                RawDetail::Bool(value) => DetailValue::Bool(value),
                RawDetail::Null => DetailValue::Null,
                RawDetail::Int(value) => DetailValue::Int(SafeInt(value)),
            };
            details.push((unescape(key).into_owned(), value));
        })?;
        let fail = |why| NotCanonical { at: 0, why };
        if payload.len() > MAX_EVENT_BYTES {
            return Err(fail("at most 16 KiB"));
        }
        let mut nonce = [0; 16];
        hex::decode_to_slice(raw.nonce, &mut nonce).map_err(|_| fail("a nonce in hex"))?;
        let ip = match raw.ip.map(|raw| (raw, raw.parse::<IpAddr>())) {
            None => None,
            Some((raw, Ok(ip))) if ip.to_string() == raw => Some(ip),
            Some(_) => return Err(fail("an IP address in its shortest form")),
        };
        let text = |raw| unescape(raw).into_owned();
        let what = NewEvent {
            tenant: text(raw.tenant),
            actor: text(raw.actor),
            action: text(raw.action),
            resource: text(raw.resource),
            request_id: text(raw.request_id),
            ip,
            details: Details(details),
        };
        let unix_millis = parse_time(raw.ts).ok_or_else(|| fail("a time that exists, after 1970"))?;
        let id = Uuid::try_parse(raw.id).map_err(|_| fail("a UUID"))?;
        Ok(Self { id, unix_millis, nonce, what, payload: payload.to_vec() })
    }

    /// The event's id (version 7).
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// When it happened, in Unix milliseconds.
    #[must_use]
    pub fn unix_millis(&self) -> u64 {
        self.unix_millis
    }

    /// The 16 random bytes.
    #[must_use]
    pub fn nonce(&self) -> &[u8; 16] {
        &self.nonce
    }

    /// What happened.
    #[must_use]
    pub fn what(&self) -> &NewEvent {
        &self.what
    }

    /// The canonical bytes: what is hashed, stored and shown.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

fn canonical_bytes(unix_millis: u64, id: Uuid, nonce: &[u8; 16], what: &NewEvent) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let member = |out: &mut Vec<u8>, name: &str, value: &str| {
        out.extend_from_slice(name.as_bytes());
        write_string(out, value);
    };
    member(&mut out, "{\"action\":", &what.action);
    member(&mut out, ",\"actor\":", &what.actor);
    out.extend_from_slice(b",\"details\":");
    write_details(&mut out, &what.details);
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    member(&mut out, ",\"id\":", id.hyphenated().encode_lower(&mut text));
    if let Some(ip) = what.ip {
        write_plain(&mut out, format_args!(",\"ip\":\"{ip}\""));
    }
    out.extend_from_slice(b",\"nonce\":\"");
    let mut digits = [0; 32];
    hex::encode_to_slice(nonce, &mut digits).expect("two digits for each of 16 bytes");
    out.extend_from_slice(&digits);
    member(&mut out, "\",\"request_id\":", &what.request_id);
    member(&mut out, ",\"resource\":", &what.resource);
    member(&mut out, ",\"tenant\":", &what.tenant);
    out.extend_from_slice(b",\"ts\":\"");
    write_time(&mut out, unix_millis);
    out.extend_from_slice(b"\"}");
    out
}

fn write_details(out: &mut Vec<u8>, details: &Details) {
    out.push(b'{');
    for (place, (key, value)) in details.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        canonical::write_string(out, key);
        out.push(b':');
        match value {
            DetailValue::Str(text) => canonical::write_string(out, text),
            DetailValue::Bool(true) => out.extend_from_slice(b"true"),
            DetailValue::Bool(false) => out.extend_from_slice(b"false"),
            DetailValue::Null => out.extend_from_slice(b"null"),
            DetailValue::Int(value) => write_plain(out, format_args!("{}", value.0)),
        }
    }
    out.push(b'}');
}

fn write_plain(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes every byte");
}

/// RFC 3339 in UTC with milliseconds and `Z`. `unix_millis` is at most [`MAX_UNIX_MILLIS`].
fn write_time(out: &mut Vec<u8>, unix_millis: u64) {
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

/// The last `N` decimal digits of `number`: every event passes here several times, and the formatter takes ten times as long.
fn write_digits<const N: usize>(out: &mut Vec<u8>, mut number: u32) {
    let mut digits = [0; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

/// The inverse of [`write_time`] for text that has its shape; `None` for a day or hour that does not exist.
fn parse_time(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u16>().ok();
    let byte = |from, to| u8::try_from(number(from, to)?).ok();
    let month = Month::try_from(byte(5, 7)?).ok()?;
    let date = Date::from_calendar_date(number(0, 4)?.into(), month, byte(8, 10)?).ok()?;
    let time = Time::from_hms_milli(byte(11, 13)?, byte(14, 16)?, byte(17, 19)?, number(20, 23)?).ok()?;
    let nanos = OffsetDateTime::new_utc(date, time).unix_timestamp_nanos();
    u64::try_from(nanos / 1_000_000).ok().filter(|_| nanos >= 0)
}

#[cfg(test)]
impl NewEvent {
    /// One in which a test changes what it is about.
    pub(crate) fn sample() -> Self {
        Self {
            tenant: "default".into(),
            actor: "key/bootstrap".into(),
            action: "product.created".into(),
            resource: "product/1".into(),
            request_id: "req-1".into(),
            ip: None,
            details: Details::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: Uuid = Uuid::from_u128(0x019c6652_5e00_7000_8000_000000000001);

    fn from_json(event: &serde_json::Value) -> Event {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        let detail = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => DetailValue::from(text.as_str()),
            serde_json::Value::Bool(value) => DetailValue::from(*value),
            serde_json::Value::Null => DetailValue::Null,
            number => DetailValue::Int(SafeInt::try_from(number.as_i64().unwrap()).unwrap()),
        };
        let what = NewEvent {
            tenant: text("tenant"),
            actor: text("actor"),
            action: text("action"),
            resource: text("resource"),
            request_id: text("request_id"),
            ip: event["ip"].as_str().map(|ip| ip.parse().unwrap()),
            details: event["details"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(k, v)| (k.clone(), detail(v)))
                .collect(),
        };
        let nonce = hex::decode(text("nonce")).unwrap().try_into().unwrap();
        let millis = parse_time(&text("ts")).unwrap();
        Event::new(millis, text("id").parse().unwrap(), nonce, what).unwrap()
    }

    #[test]
    fn canonical_bytes_follow_the_published_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../docs/vectors.json")).unwrap();
        let entries = vectors["audit"]["entries"].as_array().unwrap();
        assert!(entries.len() >= 4);
        for entry in entries {
            let event = from_json(&entry["event"]);
            assert_eq!(std::str::from_utf8(event.payload()).unwrap(), entry["canonical"].as_str().unwrap());
            assert_eq!(Event::parse(event.payload()).unwrap(), event);
        }
    }

    #[test]
    fn an_event_may_have_16_kib_and_not_a_byte_more() {
        let with = |letters: usize| {
            let details = Details::new().with("text", "x".repeat(letters));
            Event::new(0, ID, [0; 16], NewEvent { details, ..NewEvent::sample() })
        };
        let overhead = with(0).unwrap().payload().len();
        assert_eq!(with(MAX_EVENT_BYTES - overhead).unwrap().payload().len(), MAX_EVENT_BYTES);
        let too_large = EventError::TooLarge { bytes: MAX_EVENT_BYTES + 1 };
        assert_eq!(with(MAX_EVENT_BYTES - overhead + 1).unwrap_err(), too_large);
    }

    #[test]
    fn only_version_7_ids_are_taken() {
        let v4 = Uuid::from_u128(0x019c6652_5e00_4000_8000_000000000001);
        let odd_variant = Uuid::from_u128(0x019c6652_5e00_7000_c000_000000000001);
        for id in [v4, odd_variant, Uuid::nil()] {
            assert_eq!(Event::new(0, id, [0; 16], NewEvent::sample()).unwrap_err(), EventError::IdVersion);
        }
    }

    #[test]
    fn time_is_bounded_by_the_year_9999() {
        let last = Event::new(MAX_UNIX_MILLIS, ID, [0; 16], NewEvent::sample()).unwrap();
        assert!(last.payload().ends_with(b"\"ts\":\"9999-12-31T23:59:59.999Z\"}"));
        let unix_millis = MAX_UNIX_MILLIS + 1;
        assert_eq!(
            Event::new(unix_millis, ID, [0; 16], NewEvent::sample()).unwrap_err(),
            EventError::Time { unix_millis }
        );
    }

    #[test]
    fn integers_beyond_2_to_the_53_are_refused() {
        assert!(SafeInt::try_from(MAX_SAFE_INTEGER).is_ok() && SafeInt::try_from(-MAX_SAFE_INTEGER).is_ok());
        assert!(SafeInt::try_from(MAX_SAFE_INTEGER + 1).is_err() && SafeInt::try_from(i64::MIN).is_err());
        assert!(SafeInt::try_from(u64::MAX).is_err());
    }

    #[test]
    fn days_and_addresses_that_do_not_exist_are_not_read_back() {
        let good = Event::new(
            1_771_243_200_000,
            ID,
            [0; 16],
            NewEvent { ip: Some([192, 0, 2, 1].into()), ..NewEvent::sample() },
        );
        let good = String::from_utf8(good.unwrap().payload).unwrap();
        for (from, to) in [
            ("02-16T", "02-30T"),
            ("T12:", "T25:"),
            ("192.0.2.1", "192.0.2.256"),
            ("192.0.2.1", "::0"),
            ("2026-", "1969-"),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            assert!(Event::parse(bad.as_bytes()).is_err(), "{to}");
        }
    }

    fn any_value() -> impl Strategy<Value = DetailValue> {
        prop_oneof![
            any::<String>().prop_map(DetailValue::Str),
            any::<bool>().prop_map(DetailValue::Bool),
            Just(DetailValue::Null),
            (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).prop_map(|value| DetailValue::Int(SafeInt(value))),
        ]
    }

    prop_compose! {
        fn any_event()(
            texts in any::<[String; 5]>(),
            ip in any::<Option<IpAddr>>(),
            pairs in prop::collection::vec((any::<String>(), any_value()), 0..12),
            unix_millis in 0..=MAX_UNIX_MILLIS,
            random in any::<[u8; 10]>(),
            nonce in any::<[u8; 16]>(),
        ) -> Event {
            let [tenant, actor, action, resource, request_id] = texts;
            let details = pairs.into_iter().collect();
            let what = NewEvent { tenant, actor, action, resource, request_id, ip, details };
            Event::new(unix_millis, ambient::uuid_v7_from(unix_millis, random), nonce, what).unwrap()
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back_the_same(event in any_event()) {
            prop_assert_eq!(&Event::parse(event.payload()).unwrap(), &event);
        }

        #[test]
        fn another_json_reader_finds_the_same_members_in_utf16_order(event in any_event()) {
            let read: serde_json::Value = serde_json::from_slice(event.payload()).unwrap();
            prop_assert_eq!(read["tenant"].as_str().unwrap(), &event.what().tenant);
            prop_assert_eq!(read["details"].as_object().unwrap().len(), event.what().details.iter().len());
            let keys: Vec<Vec<u16>> = event.what().details.iter().map(|(key, _)| key.encode_utf16().collect()).collect();
            prop_assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
        }

        #[test]
        fn one_changed_byte_never_reads_back_as_the_same_event(event in any_event(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
            let mut bytes = event.payload().to_vec();
            let at = at.index(bytes.len());
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            if let Ok(read) = Event::parse(&bytes) {
                prop_assert_ne!(&read, &event);
                prop_assert_eq!(read.payload(), &bytes);
                let again = Event::new(read.unix_millis, read.id, read.nonce, read.what).unwrap();
                prop_assert_eq!(again.payload(), &bytes);
            }
        }
    }
}
