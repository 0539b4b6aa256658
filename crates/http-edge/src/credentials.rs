//! The API key of a request: `Authorization: Bearer <key>` (RFC 6750 §2.1) or `X-API-Key: <key>`.
//!
//! A request may have both headers if they hold the same key. A key that cannot be read is an error, never a
//! request without a key: the client wants to be identified.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use crate::extract::header_text;

/// The header that may hold a key instead of `Authorization`.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The reason why a presented key cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKey {
    /// The scheme is not Bearer, a header is repeated, or a header is not text.
    #[error("the API key cannot be read: it takes Authorization: Bearer <key>, or X-API-Key, once each")]
    Unreadable,
    /// The two headers hold different keys.
    #[error("Authorization and X-API-Key hold different keys; send one of the two")]
    Contradiction,
}

/// Returns the key that the headers present, if any. It is a secret: never log it.
///
/// # Errors
/// Returns an [`UnusableKey`] if the key cannot be read.
pub fn shown_key(headers: &HeaderMap) -> Result<Option<&str>, UnusableKey> {
    let text = |name| header_text(headers, name).map_err(|_| UnusableKey::Unreadable);
    let bearer = match text(&AUTHORIZATION)? {
        Some(value) => Some(bearer_token(value).ok_or(UnusableKey::Unreadable)?),
        None => None,
    };
    match (bearer, text(&X_API_KEY)?) {
        (Some(bearer), Some(key)) if bearer != key => Err(UnusableKey::Contradiction),
        (bearer, key) => Ok(bearer.or(key)),
    }
}

/// Parses the token of a Bearer header. The scheme is case-insensitive (RFC 9110 §11.1).
fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn shown(rows: &[(&'static str, &[u8])]) -> Result<Option<String>, UnusableKey> {
        let mut headers = HeaderMap::new();
        for (name, value) in rows {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        shown_key(&headers).map(|key| key.map(str::to_owned))
    }

    #[test]
    fn a_key_is_in_either_header_or_the_same_in_both() {
        let key = || Ok(Some("k1".to_owned()));
        assert_eq!(shown(&[]), Ok(None));
        assert_eq!(shown(&[("authorization", b"Bearer k1")]), key());
        assert_eq!(shown(&[("authorization", b"bEARER   k1")]), key());
        assert_eq!(shown(&[("x-api-key", b"k1")]), key());
        assert_eq!(shown(&[("x-api-key", b"k1"), ("authorization", b"Bearer k1")]), key());
    }

    #[test]
    fn a_key_that_cannot_be_read_is_never_a_request_without_a_key() {
        let wrong: [&[(&str, &[u8])]; 9] = [
            &[("authorization", b"Basic azE6")],
            &[("authorization", b"Bearer")],
            &[("authorization", b"Bearer ")],
            &[("authorization", b"k1")],
            &[("authorization", b"")],
            &[("authorization", b"Bearer k1"), ("authorization", b"Bearer k1")],
            &[("x-api-key", b"k1"), ("x-api-key", b"k1")],
            &[("x-api-key", b"k\xff")],
            &[("x-api-key", b"k1"), ("authorization", b"Basic k1")],
        ];
        for rows in wrong {
            assert_eq!(shown(rows), Err(UnusableKey::Unreadable), "{rows:?}");
        }
        let both: [(&str, &[u8]); 2] = [("x-api-key", b"k1"), ("authorization", b"Bearer k2")];
        assert_eq!(shown(&both), Err(UnusableKey::Contradiction));
    }
}
