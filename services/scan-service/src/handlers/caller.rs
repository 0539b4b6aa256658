//! The client of a request: the address or partner key that the limiter counts by, and the `User-Agent`.

use access::ApiKey;
use axum::extract::FromRequestParts;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use http_edge::{PeerAddr, RequestId, limit_subject, shown_key};
use problems::ApiError;

use crate::domain::admission::Credential;
use crate::domain::machines::{PREFETCH_HEADERS, is_machine_agent, means_prefetch};
use crate::domain::scan::Caller;
use crate::handlers::sender::NotEmbedded;
use crate::state::AppState;

/// The client of one request.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) request_id: RequestId,
    address: String,
    credential: Credential,
    user_agent: Option<HeaderValue>,
    machine: bool,
}

impl Client {
    pub(crate) fn caller(&self) -> Caller<'_> {
        Caller {
            address: &self.address,
            credential: &self.credential,
            user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
            machine: self.machine,
        }
    }
}

impl FromRequestParts<AppState> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        // A request that another page embeds is rejected before it is counted or charged.
        if parts.method == Method::GET {
            NotEmbedded::from_request_parts(parts, state).await?;
        }
        let peer = PeerAddr::from_request_parts(parts, state).await?;
        let request_id = RequestId::from_request_parts(parts, state).await?;
        let address = state.proxies.client_address(peer.0.ip(), &parts.headers);
        Ok(Self {
            request_id,
            address: limit_subject(address),
            credential: credential_of(&parts.headers),
            user_agent: parts.headers.get(USER_AGENT).cloned(),
            machine: is_machine(&parts.headers),
        })
    }
}

/// Reads the key. An unreadable or contradictory key is a wrong key, never a request without a key.
fn credential_of(headers: &HeaderMap) -> Credential {
    match shown_key(headers) {
        Ok(None) => Credential::None,
        Ok(Some(text)) => ApiKey::parse(text).map_or(Credential::Unusable, Credential::Key),
        Err(_) => Credential::Unusable,
    }
}

/// Whether the headers say that a program prefetches or previews the address.
fn is_machine(headers: &HeaderMap) -> bool {
    let prefetches = |name| headers.get_all(name).iter().any(|value| means_prefetch(value.as_bytes()));
    let agent = headers.get(USER_AGENT).is_some_and(|agent| is_machine_agent(agent.as_bytes()));
    agent || PREFETCH_HEADERS.into_iter().any(prefetches)
}
