//! How an executed request ends: its response is stored, or its claim is released.

use axum::body::{Body, to_bytes};
use axum::http::HeaderName;
use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::response::Response;
use idempotency::{Claim, ClaimWrite, MAX_BODY, StoredResponse};
use problems::ApiError;

use crate::domain::claimed_request::ClaimedRequest;
use crate::domain::error::FactoryError;

/// Which try of the request answers the client.
pub(crate) enum Completion {
    /// This one. Its success is stored; after a rejection its claim is released.
    Ours(Response),
    /// Another one, which took the claim over, or whose response was stored after all.
    OtherTry,
}

/// Stores the response of a request without an effect; releases the claim of a rejected request.
pub(crate) async fn complete(request: &ClaimedRequest, response: Response) -> Result<Completion, ApiError> {
    if request.is_completed() {
        return Ok(Completion::Ours(response));
    }
    if response.status().is_success() {
        return store(request.claim(), response).await;
    }
    Ok(match release(request.claim()).await {
        ClaimWrite::Applied => Completion::Ours(response),
        ClaimWrite::NotHeld => Completion::OtherTry,
    })
}

/// Releases a claim. If Redis does not answer, the claim counts as released: it ends with its lease.
pub(crate) async fn release(claim: &Claim) -> ClaimWrite {
    claim.release().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "claim of a rejected request not released, it ends with its lease");
        ClaimWrite::Applied
    })
}

async fn store(claim: &Claim, response: Response) -> Result<Completion, ApiError> {
    let (parts, body) = response.into_parts();
    let body = match to_bytes(body, MAX_BODY).await {
        Ok(body) => body,
        Err(too_large) => {
            // The response is an error whether or not the claim still held.
            let _ = release(claim).await;
            return Err(ApiError::internal(too_large));
        }
    };
    let text =
        |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let stored = StoredResponse {
        status: parts.status.as_u16(),
        content_type: text(CONTENT_TYPE),
        location: text(LOCATION),
        etag: text(ETAG),
        body: body.to_vec(),
    };
    Ok(match claim.complete(&stored).await.map_err(FactoryError::from)? {
        ClaimWrite::Applied => Completion::Ours(Response::from_parts(parts, Body::from(body))),
        ClaimWrite::NotHeld => Completion::OtherTry,
    })
}
