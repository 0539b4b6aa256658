//! Authenticates requests. The guard of a route does so before anything else of the request is read. Handlers
//! receive the [`Caller`].

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use http_edge::{PeerAddr, RequestId, shown_key};
use problems::ApiError;

use crate::domain::identity::{Caller, Principal};
use crate::state::AppState;

const NO_KEY: &str = "give the API key as Authorization: Bearer <key>, or as X-API-Key";

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Result<Self, ApiError> {
        let no_guard = || ApiError::internal("a handler takes a caller but its route has no guard");
        parts.extensions.get::<Self>().cloned().ok_or_else(no_guard)
    }
}

/// Marks a request that the operator's command line makes inside this process. It is an extension, so no
/// request from the network can carry it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator;

/// Returns the caller that the API key in the headers identifies.
pub(crate) async fn authenticate(parts: &mut Parts, state: &AppState) -> Result<Caller, ApiError> {
    let principal = match parts.extensions.get::<Operator>() {
        Some(Operator) => Principal::operator("cli"),
        None => state.authenticator.principal_of(key_of(&parts.headers)?).await?,
    };
    let peer = parts.extensions.get::<PeerAddr>().map(|peer| peer.0.ip());
    let ip: Option<IpAddr> = peer.map(|peer| state.proxies.client_address(peer, &parts.headers));
    let request_id = RequestId::from_request_parts(parts, state).await?.as_str().to_owned();
    Ok(Caller { principal, request_id, ip, claimed: None })
}

/// Returns the API key in the headers.
fn key_of(headers: &HeaderMap) -> Result<&str, ApiError> {
    match shown_key(headers) {
        Ok(Some(key)) => Ok(key),
        Ok(None) => Err(ApiError::unauthenticated(NO_KEY)),
        Err(unusable) => Err(ApiError::unauthenticated(unusable.to_string())),
    }
}
