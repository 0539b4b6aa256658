//! Who asks. The guard in front of a route finds that out before anything else of the request is read, and hands it to the
//! handler, which takes a [`Caller`].

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
        let unguarded = || ApiError::internal("a route that asks for its caller has no guard");
        parts.extensions.get::<Self>().cloned().ok_or_else(unguarded)
    }
}

/// Marks a request that the operator's command line makes inside this process. Nothing that comes over a network can carry it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator;

/// Who asks, by the one key that the headers hold.
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

/// The one key that the headers hold.
fn key_of(headers: &HeaderMap) -> Result<&str, ApiError> {
    match shown_key(headers) {
        Ok(Some(key)) => Ok(key),
        Ok(None) => Err(ApiError::unauthenticated(NO_KEY)),
        Err(unusable) => Err(ApiError::unauthenticated(unusable.to_string())),
    }
}
