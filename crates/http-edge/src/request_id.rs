//! The id of a request: the client's `X-Request-Id` if it is valid, else a new UUIDv7.
//!
//! The id appears in responses, logs and audit events. So a valid id has only characters without a special
//! meaning in any of them.

use crate::error::HttpError;
use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

/// The header with the id, in requests and responses.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The length limit of an id, in bytes.
const MAX_LENGTH: usize = 128;

/// The id of a request: 1–128 characters of `A–Z a–z 0–9 . _ ~ + / = -`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Returns the id in the headers if there is exactly one and it is valid, else a new id of the time
    /// `unix_millis`.
    #[must_use]
    pub fn of(headers: &HeaderMap, unix_millis: impl FnOnce() -> u64) -> Self {
        let mut given = headers.get_all(&X_REQUEST_ID).iter();
        match (given.next(), given.next()) {
            (Some(value), None) if is_valid(value.as_bytes()) => Self(value.clone()),
            _ => Self::new(unix_millis()),
        }
    }

    fn new(unix_millis: u64) -> Self {
        let mut text = [0_u8; 36];
        let text = ambient::uuid_v7(unix_millis).as_hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).expect("hex digits and hyphens are a header value"))
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("a valid id is ASCII")
    }

    pub(crate) fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, HttpError> {
        let id = parts.extensions.get::<Self>().cloned();
        id.ok_or_else(|| HttpError::internal("no request id: the router is not behind the edge"))
    }
}

fn is_valid(token: &[u8]) -> bool {
    let marks = b"._~+/=-";
    (1..=MAX_LENGTH).contains(&token.len())
        && token.iter().all(|byte| byte.is_ascii_alphanumeric() || marks.contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(values: &[&[u8]]) -> RequestId {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(X_REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        }
        RequestId::of(&headers, || 1_771_243_200_000)
    }

    #[test]
    fn a_valid_id_is_kept() {
        for token in
            ["a", "0198f0c4-0000-7000-8000-000000000000", "Zm9v/YmFy+Cg==", "a.b_c~d", &"x".repeat(128)]
        {
            assert_eq!(id_of(&[token.as_bytes()]).as_str(), token);
        }
    }

    #[test]
    fn an_invalid_id_is_replaced_by_a_uuid_v7() {
        let long = [b'x'; 129];
        let cases: [&[&[u8]]; 9] = [
            &[],
            &[b""],
            &[b"a b"],
            &[b"<script>"],
            &[b"a\tb"],
            &[b"caf\xc3\xa9"],
            &[b"\xff"],
            &[&long],
            &[b"a", b"b"],
        ];
        for values in cases {
            let id = id_of(values);
            assert!(id.as_str().starts_with("019c6652-5e00-7"), "{values:?} gave {id}");
            assert_eq!(id.as_str().len(), 36);
        }
        assert_ne!(id_of(&[]), id_of(&[]));
    }
}
