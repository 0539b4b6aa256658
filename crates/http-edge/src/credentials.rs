//! The API key that a request shows, in either of the two places where it may stand.
//!
//! `Authorization: Bearer <key>` (RFC 6750 §2.1) or `X-API-Key: <key>`; both are fine where they say the same. Whoever shows a key
//! means to be known by it, so one that cannot be read is a refusal, never a request without a key.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use crate::extract::header_text;

/// The header that may hold a key besides `Authorization`.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A key was shown and cannot be made out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKey {
    /// Another scheme than Bearer, a header given twice, or one that is no text.
    #[error("the API key cannot be read: it takes Authorization: Bearer <key>, or X-API-Key, once each")]
    Unreadable,
    /// The two headers hold different keys.
    #[error("Authorization and X-API-Key hold different keys; give one of the two")]
    Contradiction,
}

/// The one key that the headers hold, if they hold any. It is a secret: never log it.
///
/// # Errors
/// See [`UnusableKey`].
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

/// RFC 9110 §11.1: the scheme is matched without regard to case.
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
    fn a_key_stands_in_either_header_or_the_same_in_both() {
        let key = || Ok(Some("k1".to_owned()));
        assert_eq!(shown(&[]), Ok(None));
        assert_eq!(shown(&[("authorization", b"Bearer k1")]), key());
        assert_eq!(shown(&[("authorization", b"bEARER   k1")]), key());
        assert_eq!(shown(&[("x-api-key", b"k1")]), key());
        assert_eq!(shown(&[("x-api-key", b"k1"), ("authorization", b"Bearer k1")]), key());
    }

    #[test]
    fn what_cannot_be_made_out_is_never_a_request_without_a_key() {
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
