//! The address of the peer, for handlers.

use crate::error::HttpError;
use axum::extract::FromRequestParts;
use http::request::Parts;
use std::net::SocketAddr;

/// The address at the other end of the connection: a client or a proxy (see [`crate::TrustedProxies`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

impl<S: Sync> FromRequestParts<S> for PeerAddr {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, HttpError> {
        let peer = parts.extensions.get::<Self>().copied();
        peer.ok_or_else(|| HttpError::internal("no peer address: the router is not served by `serve`"))
    }
}
