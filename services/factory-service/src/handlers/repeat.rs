//! `Idempotency-Key`: a `POST` that is sent again is answered again, and carried out once.
//!
//! The claim comes first; the effect, its event and the stored answer are one write; what was refused leaves nothing behind, so
//! that the next try is carried out. The work goes on when the client leaves: what it would have been told is stored. A try that was
//! so slow that another took its place answers what that other one did.

use std::sync::Arc;
use std::time::Duration;

use ambient::crash_point;
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, RawPathParams, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_edge::ApiBytes;
use idempotency::{
    Claim, ClaimOutcome, ClaimRejection, Fingerprint, IdempotencyKey, Namespace, Origin, StoredResponse,
};
use problems::ApiError;

use crate::domain::identity::Caller;
use crate::domain::once::Once;
use crate::domain::refusal::Refusal;
use crate::handlers::reply::Reply;
use crate::handlers::settle::{Settled, give_back, settle};
use crate::state::AppState;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says on an answer that it was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// How long an answer is kept after it was first given, seconds.
const TTL: HeaderName = HeaderName::from_static("idempotency-ttl");

/// When to send a request again whose answer is being made elsewhere.
const SOON: Duration = Duration::from_secs(1);

/// The request's key, if it has one.
pub(crate) fn key_of(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let lines: Vec<&[u8]> = headers.get_all(IDEMPOTENCY_KEY).iter().map(HeaderValue::as_bytes).collect();
    IdempotencyKey::parse(&lines).map_err(|error| ApiError::invalid_request(error.to_string()))
}

/// Carries the request out, or answers as it was answered before.
pub(crate) async fn carry_out_once(
    state: AppState,
    caller: Caller,
    key: IdempotencyKey,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let (template, params) = path_of(&mut parts, &state).await?;
    let whole = Request::from_parts(parts.clone(), body);
    let ApiBytes(body) = ApiBytes::from_request(whole, &state).await?;
    let target = parts.uri.path_and_query().map_or_else(|| parts.uri.path(), |target| target.as_str());
    let content_type = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let fingerprint = Fingerprint::of(parts.method.as_str(), target, content_type, &body);
    let sent = Sent { key, method: parts.method.clone(), template, params, fingerprint };
    let request = Request::from_parts(parts, Body::from(body));
    // A task of its own from the claim on: the client may leave, the work goes on.
    let work = tokio::spawn(claim_and_work(state, caller, sent, request, next));
    work.await.unwrap_or_else(|gone| std::panic::resume_unwind(gone.into_panic()))
}

/// What tells one request from all others.
struct Sent {
    key: IdempotencyKey,
    method: Method,
    template: String,
    params: Vec<(String, String)>,
    fingerprint: Fingerprint,
}

async fn claim_and_work(
    state: AppState,
    mut caller: Caller,
    sent: Sent,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let claim = match claim_or_answer(&state, &caller, &sent).await? {
        Begun::Claimed(claim) => claim,
        Begun::Answered(response) => return Ok(response),
    };
    crash_point("after-claim");
    let once = Arc::new(Once::new(claim));
    caller.once = Some(Arc::clone(&once));
    request.extensions_mut().insert(caller.clone());
    let alive = once.claim().keep_alive();
    let response = next.run(request).await;
    drop(alive);
    match settle(&once, response).await? {
        Settled::Here(response) if response.status().is_success() => {
            crash_point("before-answer");
            Ok(with_ttl(&state, response))
        }
        Settled::Here(refusal) => Ok(refusal),
        Settled::Elsewhere => match claim_or_answer(&state, &caller, &sent).await? {
            Begun::Claimed(fresh) => {
                // The other try was refused. The next one is for the client to send: this one's body is used up.
                give_back(&fresh).await;
                Err(ApiError::IdempotencyInFlight { retry_after: SOON })
            }
            Begun::Answered(response) => Ok(response),
        },
    }
}

/// How a request begins.
enum Begun {
    /// Execute it under this claim.
    Claimed(Claim),
    /// It was executed before: send this response again.
    Answered(Response),
}

/// Claims the request, or replays the stored response.
async fn claim_or_answer(state: &AppState, caller: &Caller, sent: &Sent) -> Result<Begun, ApiError> {
    match ask(state, caller, sent).await? {
        ClaimOutcome::Claimed(claim) => Ok(Begun::Claimed(claim)),
        ClaimOutcome::Replay(answer) => Ok(Begun::Answered(replay(state, answer))),
        ClaimOutcome::Rejected(ClaimRejection::KeyReused) => Err(ApiError::IdempotencyKeyReused),
        ClaimOutcome::Rejected(ClaimRejection::InFlight { retry_after }) => {
            Err(ApiError::IdempotencyInFlight { retry_after })
        }
        ClaimOutcome::Rejected(ClaimRejection::TooManyRecords { retry_after }) => {
            Err(ApiError::rate_limited(retry_after))
        }
        ClaimOutcome::Rejected(ClaimRejection::StateLost) => {
            state.durable.report_lost("a request was claimed and the deployment record was gone or another");
            Err(ApiError::state_lost())
        }
    }
}

async fn ask(state: &AppState, caller: &Caller, sent: &Sent) -> Result<ClaimOutcome, Refusal> {
    let params: Vec<(&str, &str)> =
        sent.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let namespace = Namespace {
        tenant: caller.tenant().as_str(),
        method: sent.method.as_str(),
        template: &sent.template,
        params: &params,
        key: &sent.key,
    };
    let origin = Origin {
        actor: caller.principal.actor.clone(),
        request_id: caller.request_id.clone(),
        ip: caller.ip,
    };
    let deployment = state.durable.deployment()?.prefix();
    Ok(state.idempotency.claim_or_wait(deployment, &namespace, sent.fingerprint, origin).await?)
}

/// The route's template and what its parameters hold.
async fn path_of(parts: &mut Parts, state: &AppState) -> Result<(String, Vec<(String, String)>), ApiError> {
    let template = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let template = template.ok_or_else(|| ApiError::internal("a guarded route has no template"))?;
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|_| ApiError::invalid_request("the path cannot be read"))?;
    Ok((template, params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
}

fn replay(state: &AppState, answer: StoredResponse) -> Response {
    let mut response = Reply(answer).into_response();
    debug_assert_ne!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    with_ttl(state, response)
}

fn with_ttl(state: &AppState, mut response: Response) -> Response {
    response.headers_mut().insert(TTL, HeaderValue::from(state.idempotency.ttl().as_secs()));
    response
}
