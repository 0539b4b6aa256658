//! Conditional requests (RFC 9110, section 13), which name the version of a resource.
//!
//! A version is a strong `ETag`: a hash of the bytes of the representation. It changes with everything that
//! the representation shows, for example a batch's state, which also depends on the time and on the keyring.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use headers::{ETag, Header, HeaderMapExt, IfMatch, IfNoneMatch};
use idempotency::StoredResponse;
use problems::ApiError;
use serde::Serialize;

use crate::handlers::reply::{self, Reply, etag_of};
use crate::state::AppState;

/// The `If-Match` and `If-None-Match` of a request.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    if_match: Option<IfMatch>,
    if_none_match: Option<IfNoneMatch>,
}

impl FromRequestParts<AppState> for Conditions {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Result<Self, ApiError> {
        Self::of(&parts.headers)
    }
}

impl Conditions {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        Ok(Self { if_match: read(headers)?, if_none_match: read(headers)? })
    }

    /// Returns whether a resource with the current representation `body` may be changed. `If-Match` compares
    /// strongly, so a weak tag never matches.
    pub(crate) fn allow_change_of(&self, body: &impl Serialize) -> bool {
        let tag = tag_of(&reply::bytes(body));
        self.if_match.as_ref().is_none_or(|wanted| wanted.precondition_passes(&tag))
            && self.if_none_match.as_ref().is_none_or(|unwanted| unwanted.precondition_passes(&tag))
    }

    /// Answers a `GET`: the representation with its version, or 304 if the client holds that version already.
    ///
    /// # Errors
    /// 412 if `If-Match` names another version.
    pub(crate) fn show(&self, body: &impl Serialize) -> Result<Response, ApiError> {
        let answer = reply::shown(body);
        let tag = tag_of(&answer.body);
        if self.if_match.as_ref().is_some_and(|wanted| !wanted.precondition_passes(&tag)) {
            return Err(other_version());
        }
        if self.if_none_match.as_ref().is_some_and(|held| !held.precondition_passes(&tag)) {
            let not_modified = StatusCode::NOT_MODIFIED.as_u16();
            let bare =
                StoredResponse { status: not_modified, content_type: None, body: Vec::new(), ..answer };
            return Ok(Reply(bare).into_response());
        }
        Ok(Reply(answer).into_response())
    }
}

/// Returns the error for a request whose condition does not hold.
pub(crate) fn other_version() -> ApiError {
    let why = "the current version is not the one that If-Match or If-None-Match asks for; read the resource \
               again and send its ETag, e.g. If-Match: \"4a5e1e4baab89f3a32518a88c31bc87f\", or no condition";
    ApiError::precondition_failed(why)
}

fn read<H: Header>(headers: &HeaderMap) -> Result<Option<H>, ApiError> {
    headers.typed_try_get::<H>().map_err(|_| {
        let why =
            format!("{} cannot be read; it takes * or a list of quoted ETags, e.g. \"4a5e1e4b\"", H::name());
        ApiError::invalid_request(why)
    })
}

fn tag_of(body: &[u8]) -> ETag {
    etag_of(body).parse().expect("a quoted hash is an entity tag")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn conditions(lines: &[(HeaderName, &str)]) -> Conditions {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Conditions::of(&headers).unwrap()
    }

    #[test]
    fn a_change_is_allowed_only_for_a_version_that_the_condition_names() {
        let tag = etag_of(b"1");
        let if_match = |value: &str| conditions(&[(IfMatch::name().clone(), value)]).allow_change_of(&1);
        for passes in
            [&*tag, "*", &format!("\"x\", {tag}"), &format!("{tag},\"y,z\""), &format!("W/\"x\" , {tag}")]
        {
            assert!(if_match(passes), "{passes}");
        }
        let weak = format!("W/{tag}");
        for fails in ["\"x\"", &weak, "\"x\", \"y\"", "", tag.trim_matches('"'), "nonsense", "\"\""] {
            assert!(!if_match(fails), "{fails}");
        }
        let two = [(IfMatch::name().clone(), "\"x\""), (IfMatch::name().clone(), &*tag)];
        assert!(conditions(&two).allow_change_of(&1), "several lines form one list");
        assert!(conditions(&[]).allow_change_of(&1));
        for (value, allowed) in [("*", false), (&*tag, false), (&weak, false), ("\"x\"", true)] {
            let unless = conditions(&[(IfNoneMatch::name().clone(), value)]);
            assert_eq!(unless.allow_change_of(&1), allowed, "{value}");
        }
    }

    #[test]
    fn a_version_that_the_client_holds_is_not_sent_again() {
        let tag = etag_of(b"1");
        for (value, status) in [("*", 304), (&*tag, 304), (&format!("W/{tag}"), 304), ("\"x\"", 200)] {
            let shown = conditions(&[(IfNoneMatch::name().clone(), value)]).show(&1).unwrap();
            assert_eq!((shown.status().as_u16(), shown.headers()["etag"].to_str().unwrap()), (status, &*tag));
        }
    }
}
