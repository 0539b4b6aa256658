//! Who asks. A handler that takes a [`Caller`] as its first argument is closed to everybody without a key, before anything
//! else of the request is read.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use http_edge::{ApiError, PeerAddr, RequestId, header_text};

use crate::domain::identity::Caller;
use crate::state::AppState;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

const NO_KEY: &str = "give the API key as Authorization: Bearer <key>, or as X-API-Key";
const UNREADABLE: &str =
    "the API key cannot be read: it takes Authorization: Bearer <key>, or X-API-Key, once each";
const CONTRADICTION: &str = "Authorization and X-API-Key hold different keys; give one of the two";
const UNKNOWN: &str = "this API key is not known";

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let key = key_of(&parts.headers)?;
        let unknown = || ApiError::Unauthenticated(UNKNOWN.into());
        let principal = state.authenticator.principal_of(key).ok_or_else(unknown)?.clone();
        let peer = parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip());
        let ip: Option<IpAddr> = peer.map(|peer| state.proxies.client_address(peer, &parts.headers));
        let request_id = RequestId::from_request_parts(parts, state).await?.as_str().to_owned();
        Ok(Self { principal, request_id, ip })
    }
}

/// The one key that the headers hold.
fn key_of(headers: &HeaderMap) -> Result<&str, ApiError> {
    let refuse = |why: &'static str| ApiError::Unauthenticated(why.into());
    let text = |name| header_text(headers, name).map_err(|_| refuse(UNREADABLE));
    let bearer = match text(&AUTHORIZATION)? {
        Some(value) => Some(bearer_token(value).ok_or_else(|| refuse(UNREADABLE))?),
        None => None,
    };
    match (bearer, text(&X_API_KEY)?) {
        (None, None) => Err(refuse(NO_KEY)),
        (Some(key), None) | (None, Some(key)) => Ok(key),
        (Some(bearer), Some(key)) if bearer == key => Ok(key),
        (Some(_), Some(_)) => Err(refuse(CONTRADICTION)),
    }
}

/// RFC 6750 §2.1, RFC 9110 §11.1: the scheme is matched without regard to case.
fn bearer_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
