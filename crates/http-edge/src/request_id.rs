//! The id of one request: the caller's `X-Request-Id` when it is a sane token, else a UUIDv7 of our own.
//!
//! The id ends up in answers, logs and audit events, so what a caller may choose is kept to characters that mean
//! nothing in any of them.

use crate::error::HttpError;
use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;

/// The header that carries the id, both ways.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id a caller may choose, in bytes.
const MAX_LENGTH: usize = 128;

/// The id of the request at hand: 1–128 characters of `A–Z a–z 0–9 . _ ~ + / = -`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id the caller gave, when there is exactly one and it is sane; else a new one of the time `unix_millis`.
    #[must_use]
    pub fn of(headers: &HeaderMap, unix_millis: impl FnOnce() -> u64) -> Self {
        let mut given = headers.get_all(&X_REQUEST_ID).iter();
        match (given.next(), given.next()) {
            (Some(value), None) if is_sane(value.as_bytes()) => Self(value.clone()),
            _ => Self::made_at(unix_millis()),
        }
    }

    fn made_at(unix_millis: u64) -> Self {
        let mut text = [0_u8; 36];
        let text = ambient::uuid_v7(unix_millis).as_hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).expect("hex digits and hyphens are a header value"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("only ASCII letters, digits and a few marks got in")
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
        id.ok_or_else(|| HttpError::internal("the router is not wrapped by the edge: no request id"))
    }
}

fn is_sane(token: &[u8]) -> bool {
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
    fn a_sane_token_is_kept() {
        for token in
            ["a", "0198f0c4-0000-7000-8000-000000000000", "Zm9v/YmFy+Cg==", "a.b_c~d", &"x".repeat(128)]
        {
            assert_eq!(id_of(&[token.as_bytes()]).as_str(), token);
        }
    }

    #[test]
    fn anything_else_is_replaced_by_a_uuid_v7() {
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
