//! `GET /v1/audit/events`, `GET /v1/audit/head`, `POST /v1/audit/verify`.

use std::num::NonZeroUsize;

use audit_chain::Page;
use axum::Json;
use axum::body::Body as AxumBody;
use axum::extract::{FromRequest, Request, State};
use axum::http::header::CONTENT_TYPE;
use http_edge::{ApiBytes, ApiError, ApiJson, ApiQuery};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::domain::identity::Caller;
use crate::handlers::list::limit;
use crate::handlers::problems::{Body, Contended, Guarded, Read};
use crate::state::AppState;

/// Entries of a page, unless asked otherwise and at most.
const EVENTS: (u64, u64) = (100, 1_000);

/// One page of the chain.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// The `next` of the page before; from the first entry without.
    after_seq: Option<u64>,
    /// Entries of the page, 100 unless given. A page of large events may have fewer.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
}

/// A page of the chain.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "documents what audit_chain::Page serialises to")]
pub(crate) struct EventsAnswer {
    /// In ascending order.
    events: Vec<EntryAnswer>,
    /// To be passed as `after_seq`, when there is more.
    next: Option<u64>,
}

/// One entry; hashes are lower-case hex.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "documents what audit_chain::EntryView serialises to")]
pub(crate) struct EntryAnswer {
    /// Its place in the chain, from 0.
    seq: u64,
    /// The hash before it.
    prev: String,
    /// SHA-256 of the event's bytes.
    payload_hash: String,
    /// The entry's own hash.
    hash: String,
    /// The stored bytes, embedded as they are (RFC 8785).
    #[schema(value_type = Object)]
    event: Value,
}

/// Where the chain ends.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeadAnswer {
    /// Entries in the chain.
    size: u64,
    /// The last entry's hash, lower-case hex; for an empty chain, what the first would follow.
    head: String,
}

/// What to verify; everything unless given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyRequest {
    /// The first entry.
    from: Option<u64>,
    /// The entry to stop before.
    to: Option<u64>,
}

/// What verifying found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerifyAnswer {
    /// Whether everything asked for is as it was written.
    ok: bool,
    /// Entries found right.
    checked: u64,
    /// Entries in the chain that was verified against.
    size: u64,
    /// Its head, lower-case hex.
    head: String,
    /// The first entry that is not right.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_error: Option<FirstErrorAnswer>,
}

/// An entry that does not verify.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FirstErrorAnswer {
    /// Its place in the chain.
    seq: u64,
    /// What is wrong with it.
    why: String,
}

/// Reads the chain.
#[utoipa::path(
    get, path = "/v1/audit/events", tag = "audit", params(EventsQuery),
    responses((status = 200, description = "One page", body = EventsAnswer), Guarded, Read)
)]
pub(crate) async fn events(
    _caller: Caller,
    State(state): State<AppState>,
    ApiQuery(query): ApiQuery<EventsQuery>,
) -> Result<Json<Page>, ApiError> {
    let limit = limit(query.limit, EVENTS.0, EVENTS.1)?;
    let limit = NonZeroUsize::new(limit).expect("limits begin at 1");
    Ok(Json(state.audit.events(query.after_seq, limit).await?))
}

/// Tells where the chain ends.
#[utoipa::path(
    get, path = "/v1/audit/head", tag = "audit",
    responses((status = 200, description = "The head", body = HeadAnswer), Guarded)
)]
pub(crate) async fn head(
    _caller: Caller,
    State(state): State<AppState>,
) -> Result<Json<HeadAnswer>, ApiError> {
    let head = state.audit.head().await?;
    Ok(Json(HeadAnswer { size: head.size, head: head.hash.to_string() }))
}

/// Verifies the chain or a range of it, one request at a time. The body may be left out.
#[utoipa::path(
    post, path = "/v1/audit/verify", tag = "audit", request_body = Option<VerifyRequest>,
    responses((status = 200, description = "Verified; `ok` tells how it ended", body = VerifyAnswer), Guarded, Body, Contended)
)]
pub(crate) async fn verify(
    _caller: Caller,
    State(state): State<AppState>,
    OrDefault(request): OrDefault<VerifyRequest>,
) -> Result<Json<VerifyAnswer>, ApiError> {
    let (from, to) = (request.from.unwrap_or(0), request.to.unwrap_or(u64::MAX));
    if from > to {
        return Err(ApiError::invalid_request(format!("from is {from}; it takes at most to, which is {to}")));
    }
    let report = state.audit.verify(from..to).await?;
    Ok(Json(VerifyAnswer {
        ok: report.ok,
        checked: report.checked,
        size: report.head.size,
        head: report.head.hash.to_string(),
        first_error: report
            .first_error
            .map(|error| FirstErrorAnswer { seq: error.seq, why: error.why.to_string() }),
    }))
}

/// A JSON body, or the default where there is none.
pub(crate) struct OrDefault<T>(T);

impl<T: for<'de> Deserialize<'de> + Default, S: Send + Sync> FromRequest<S> for OrDefault<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let whole = Request::from_parts(parts.clone(), body);
        let ApiBytes(bytes) = ApiBytes::from_request(whole, state).await?;
        if bytes.is_empty() && !parts.headers.contains_key(CONTENT_TYPE) {
            return Ok(Self(T::default()));
        }
        let ApiJson(value) =
            ApiJson::from_request(Request::from_parts(parts, AxumBody::from(bytes)), state).await?;
        Ok(Self(value))
    }
}
