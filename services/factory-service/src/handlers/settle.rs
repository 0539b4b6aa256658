//! How a claimed request ends: its answer is stored, or its claim given back.

use axum::body::{Body, to_bytes};
use axum::http::HeaderName;
use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::response::Response;
use idempotency::{Claim, MAX_BODY, StoredResponse};
use problems::ApiError;

use crate::domain::once::Once;
use crate::domain::refusal::Refusal;

/// Who has the answer.
pub(crate) enum Settled {
    /// This try: a success is stored, and after a refusal the claim was given back.
    Here(Response),
    /// The claim is no longer this try's: another one took the request over, or its answer was stored after all.
    Elsewhere,
}

/// Stores the answer of what had no effect, and gives back the claim of what was refused.
pub(crate) async fn settle(once: &Once, response: Response) -> Result<Settled, ApiError> {
    if once.is_done() {
        return Ok(Settled::Here(response));
    }
    if response.status().is_success() {
        return store(once, response).await;
    }
    Ok(if give_back(once.claim()).await { Settled::Here(response) } else { Settled::Elsewhere })
}

/// False where the claim was another's by then. Where Redis did not say, it counts as given back.
pub(crate) async fn give_back(claim: &Claim) -> bool {
    claim.release().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the claim of a refused request stays until its lease ends");
        true
    })
}

async fn store(once: &Once, response: Response) -> Result<Settled, ApiError> {
    let (parts, body) = response.into_parts();
    let body = match to_bytes(body, MAX_BODY).await {
        Ok(body) => body,
        Err(too_large) => {
            give_back(once.claim()).await;
            return Err(ApiError::internal(too_large));
        }
    };
    let text =
        |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let answer = StoredResponse {
        status: parts.status.as_u16(),
        content_type: text(CONTENT_TYPE),
        location: text(LOCATION),
        etag: text(ETAG),
        body: body.to_vec(),
    };
    let stored = once.claim().complete(&answer).await.map_err(Refusal::from)?;
    Ok(if stored { Settled::Here(Response::from_parts(parts, Body::from(body))) } else { Settled::Elsewhere })
}
