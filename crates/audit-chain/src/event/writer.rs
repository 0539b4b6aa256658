//! Writing an event as canonical JSON (RFC 8785).
//!
//! The members of an event are fixed, so their order is fixed too. Only the keys of `details` are sorted, by
//! [`Details`].

use crate::event::details::{DetailValue, Details};
use crate::event::json::write_string;
use crate::event::new_event::NewEvent;
use crate::event::timestamp::write_time;
use std::io::Write as _;
use uuid::Uuid;

/// Returns the canonical bytes of an event. `unix_millis` is at most
/// [`crate::event::limits::MAX_UNIX_MILLIS`].
pub(crate) fn canonical_bytes(unix_millis: u64, id: Uuid, nonce: &[u8; 16], what: &NewEvent) -> Vec<u8> {
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
        write_formatted(&mut out, format_args!(",\"ip\":\"{ip}\""));
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
    for (index, (key, value)) in details.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, key);
        out.push(b':');
        match value {
            DetailValue::Str(text) => write_string(out, text),
            DetailValue::Bool(true) => out.extend_from_slice(b"true"),
            DetailValue::Bool(false) => out.extend_from_slice(b"false"),
            DetailValue::Null => out.extend_from_slice(b"null"),
            DetailValue::Int(value) => write_formatted(out, format_args!("{}", value.get())),
        }
    }
    out.push(b'}');
}

fn write_formatted(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a vector never fails");
}
