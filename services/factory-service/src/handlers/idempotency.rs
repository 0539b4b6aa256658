//! The idempotency step of the request path: a `POST` with an `Idempotency-Key` is executed once, however
//! often it is sent.
//!
//! 1. Claim the request. A completed one is replayed; one in flight elsewhere is rejected after a short wait.
//! 2. Execute it under the claim. Effect, event and response are written together.
//! 3. Complete it: store the response, or release the claim of a rejected request so that the next try is
//!    executed.
//!
//! The work continues if the client disconnects, and its response is stored. A try that is so slow that
//! another one took its claim over answers with the response of the other one.

use std::sync::Arc;
use std::time::Duration;

use ambient::crash_point;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_edge::ApiBytes;
use idempotency::{ClaimOutcome, ClaimRejection, Fingerprint, IdempotencyKey, Namespace, StoredResponse};
use problems::ApiError;
use tracing::Instrument;

use crate::domain::claimed_request::ClaimedRequest;
use crate::domain::error::FactoryError;
use crate::domain::identity::Caller;
use crate::handlers::completion::{Completion, complete, release};
use crate::handlers::reply::Reply;
use crate::state::AppState;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks a replayed response.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// How long a response is stored after completion, seconds.
const TTL: HeaderName = HeaderName::from_static("idempotency-ttl");

/// `Retry-After` of a request whose other try was rejected meanwhile.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// The middleware. It follows the guard, which adds the [`Caller`]. Other requests pass unchanged.
pub(crate) async fn idempotency(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if request.method() != Method::POST {
        return Ok(next.run(request).await);
    }
    let Some(key) = key_of(request.headers())? else { return Ok(next.run(request).await) };
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &state).await?;
    let (template, params) = path_of(&mut parts, &state).await?;
    let whole = Request::from_parts(parts.clone(), body);
    let ApiBytes(body) = ApiBytes::from_request(whole, &state).await?;
    let target = parts.uri.path_and_query().map_or_else(|| parts.uri.path(), |target| target.as_str());
    let content_type = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let fingerprint = Fingerprint::of(parts.method.as_str(), target, content_type, &body);
    let identity = Identity { key, method: parts.method.clone(), template, params, fingerprint };
    let request = Request::from_parts(parts, Body::from(body));
    // A separate task from the claim on: the work continues if the client disconnects.
    let work = claim_and_execute(state, caller, identity, request, next).in_current_span();
    let work = tokio::spawn(work);
    work.await.unwrap_or_else(|gone| std::panic::resume_unwind(gone.into_panic()))
}

/// Returns the request's key, if it has one.
fn key_of(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let lines: Vec<&[u8]> = headers.get_all(IDEMPOTENCY_KEY).iter().map(HeaderValue::as_bytes).collect();
    IdempotencyKey::parse(&lines).map_err(|error| ApiError::invalid_request(error.to_string()))
}

/// The parts of a request that identify it.
struct Identity {
    key: IdempotencyKey,
    method: Method,
    template: String,
    params: Vec<(String, String)>,
    fingerprint: Fingerprint,
}

async fn claim_and_execute(
    state: AppState,
    mut caller: Caller,
    identity: Identity,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let claim = match claim(&state, &caller, &identity).await? {
        ClaimOutcome::Claimed(claim) => claim,
        ClaimOutcome::Replay(response) => return Ok(replay(&state, response)),
        ClaimOutcome::Rejected(rejection) => return Err(rejected(&state, rejection)),
    };
    crash_point("after-claim");
    let claimed = Arc::new(ClaimedRequest::new(claim));
    caller.claimed = Some(Arc::clone(&claimed));
    request.extensions_mut().insert(caller.clone());
    let alive = claimed.claim().keep_alive();
    let response = next.run(request).await;
    drop(alive);
    match complete(&claimed, response).await? {
        Completion::Ours(response) if response.status().is_success() => {
            crash_point("before-answer");
            Ok(with_ttl(&state, response))
        }
        Completion::Ours(rejection) => Ok(rejection),
        Completion::OtherTry => response_of_other_try(&state, &caller, &identity).await,
    }
}

/// Returns the response of the try that took this one's claim over. If that try was rejected, the client has
/// to send the request again: this one's body is consumed.
async fn response_of_other_try(
    state: &AppState,
    caller: &Caller,
    identity: &Identity,
) -> Result<Response, ApiError> {
    match claim(state, caller, identity).await? {
        ClaimOutcome::Replay(response) => Ok(replay(state, response)),
        ClaimOutcome::Rejected(rejection) => Err(rejected(state, rejection)),
        ClaimOutcome::Claimed(fresh) => {
            // The client retries whether or not the claim still held.
            let _ = release(&fresh).await;
            Err(ApiError::IdempotencyInFlight { retry_after: RETRY_SOON })
        }
    }
}

async fn claim(state: &AppState, caller: &Caller, identity: &Identity) -> Result<ClaimOutcome, FactoryError> {
    let params: Vec<(&str, &str)> =
        identity.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let namespace = Namespace {
        tenant: caller.tenant().as_str(),
        method: identity.method.as_str(),
        template: &identity.template,
        params: &params,
        key: &identity.key,
    };
    let deployment = state.deployment.deployment()?.prefix();
    Ok(state.idempotency.claim_or_wait(deployment, &namespace, identity.fingerprint, caller.origin()).await?)
}

fn rejected(state: &AppState, rejection: ClaimRejection) -> ApiError {
    match rejection {
        ClaimRejection::KeyReused => ApiError::IdempotencyKeyReused,
        ClaimRejection::InFlight { retry_after } => ApiError::IdempotencyInFlight { retry_after },
        ClaimRejection::TooManyRecords { retry_after } => ApiError::rate_limited(retry_after),
        ClaimRejection::StateLost => {
            let why = "the deployment record was missing or another one when a request was claimed";
            state.deployment.report_lost(why);
            ApiError::state_lost()
        }
    }
}

/// Returns the route's template and the values of its parameters.
async fn path_of(parts: &mut Parts, state: &AppState) -> Result<(String, Vec<(String, String)>), ApiError> {
    let template = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let template = template.ok_or_else(|| ApiError::internal("a guarded route has no template"))?;
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|_| ApiError::invalid_request("the path cannot be read"))?;
    Ok((template, params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
}

fn replay(state: &AppState, stored: StoredResponse) -> Response {
    let mut response = Reply(stored).into_response();
    debug_assert_ne!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    with_ttl(state, response)
}

fn with_ttl(state: &AppState, mut response: Response) -> Response {
    response.headers_mut().insert(TTL, HeaderValue::from(state.idempotency.ttl().as_secs()));
    response
}
