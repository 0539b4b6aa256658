//! The audit event: what a caller says happened, checked once, with the canonical bytes that are hashed and
//! stored.
//!
//! - [`new_event`]: the members that a caller gives. [`action`]: the list of all audit actions.
//! - [`details`]: the flat map of further facts.
//! - [`writer`] and [`reader`]: canonical JSON, written and read strictly; [`json`] and [`timestamp`] are its
//!   parts.
//! - [`limits`] and [`error`]: bounds, and what exceeding them returns.

pub(crate) mod action;
pub(crate) mod details;
pub(crate) mod error;
mod json;
pub(crate) mod limits;
pub(crate) mod new_event;
pub(crate) mod reader;
mod timestamp;
mod writer;

#[cfg(test)]
mod tests;

use self::details::{DetailValue, Details, SafeInt};
use self::error::EventError;
use self::json::unescape;
use self::limits::{MAX_EVENT_BYTES, MAX_UNIX_MILLIS};
use self::new_event::NewEvent;
use self::reader::{NotCanonical, RawDetail, read_canonical};
use self::timestamp::parse_time;
use self::writer::canonical_bytes;
use std::net::IpAddr;
use uuid::Uuid;

/// One audit event with its canonical bytes.
///
/// Its members are typed, its integers are exact in every JSON reader, and its bytes are at most
/// [`MAX_EVENT_BYTES`]. The time, the id and the nonce are arguments, so that the same call can be repeated
/// with the same bytes.
///
/// ```
/// use audit_chain::{Details, Event, NewEvent};
///
/// let what = NewEvent {
///     tenant: "acme".into(),
///     actor: "key/7f3a".into(),
///     action: "product.created".into(),
///     resource: "product/42".into(),
///     request_id: "req-1".into(),
///     ip: None,
///     details: Details::new().with("name", "Coffee").with("gtin", "04006381333931"),
/// };
/// let now = 1_771_243_200_000;
/// let event = Event::new(now, ambient::uuid_v7(now), ambient::entropy::random_bytes(), what)?;
///
/// assert!(event.payload().starts_with(br#"{"action":"product.created","actor":"key/7f3a","#));
/// assert_eq!(Event::parse(event.payload())?, event);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    id: Uuid,
    unix_millis: u64,
    nonce: [u8; 16],
    what: NewEvent,
    payload: Vec<u8>,
}

impl Event {
    /// Builds an event. `unix_millis` is its time in Unix milliseconds, `id` a UUID of version 7, and `nonce`
    /// random: it prevents guessing an event from its published hash.
    ///
    /// # Errors
    /// [`EventError::IdVersion`], [`EventError::Time`], or [`EventError::TooLarge`].
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

    /// Reads an event from its stored bytes, which must be exactly its canonical form.
    ///
    /// # Errors
    /// [`NotCanonical`] with the offset of the first byte that does not fit, or 0 where a member has a wrong
    /// value.
    pub fn parse(payload: &[u8]) -> Result<Self, NotCanonical> {
        let mut details = Vec::new();
        let raw = read_canonical(payload, |key, value| {
            let value = match value {
                RawDetail::Str(raw) => DetailValue::Str(unescape(raw).into_owned()),
                RawDetail::Bool(value) => DetailValue::Bool(value),
                RawDetail::Null => DetailValue::Null,
                RawDetail::Int(value) => DetailValue::Int(SafeInt::from_bounded(value)),
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
            details: Details::from_ordered(details),
        };
        let unix_millis = parse_time(raw.ts).ok_or_else(|| fail("a time that exists, after 1970"))?;
        let id = Uuid::try_parse(raw.id).map_err(|_| fail("a UUID"))?;
        Ok(Self { id, unix_millis, nonce, what, payload: payload.to_vec() })
    }

    /// Returns the event's id, a UUID of version 7.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Returns the event's time in Unix milliseconds.
    #[must_use]
    pub fn unix_millis(&self) -> u64 {
        self.unix_millis
    }

    /// Returns the 16 random bytes.
    #[must_use]
    pub fn nonce(&self) -> &[u8; 16] {
        &self.nonce
    }

    /// Returns what the caller said happened.
    #[must_use]
    pub fn what(&self) -> &NewEvent {
        &self.what
    }

    /// Returns the canonical bytes, which are hashed, stored and shown.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}
