//! Who asks: the address the limiter counts by, and the `User-Agent`.

use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use http_edge::{ApiError, PeerAddr, RequestId, limit_subject};

use crate::domain::scan::Caller;
use crate::state::AppState;

/// The client of one request.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) subject: String,
    pub(crate) request_id: RequestId,
    user_agent: Option<HeaderValue>,
}

impl Client {
    pub(crate) fn caller(&self) -> Caller<'_> {
        Caller { subject: &self.subject, user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes) }
    }
}

impl FromRequestParts<AppState> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let peer = PeerAddr::from_request_parts(parts, state).await?;
        let request_id = RequestId::from_request_parts(parts, state).await?;
        let address = state.proxies.client_address(peer.0.ip(), &parts.headers);
        Ok(Self {
            subject: limit_subject(address),
            request_id,
            user_agent: parts.headers.get(USER_AGENT).cloned(),
        })
    }
}
