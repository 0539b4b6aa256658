//! `GET /v1/audit/events`, `GET /v1/audit/head`, `GET /v1/audit/checkpoint`.

use std::num::NonZeroUsize;

use audit_chain::EntryPage;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use http_edge::ApiQuery;
use problems::ApiError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::domain::identity::Caller;
use crate::handlers::list::limit;
use crate::handlers::problems::{Contended, Guarded, Read};
use crate::state::AppState;

/// The default and the largest number of entries in a page.
const PAGE_LIMITS: (u64, u64) = (100, 1_000);

/// Which page of the chain.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// The `next` of the previous page. Without it the page begins with the first entry.
    after_seq: Option<u64>,
    /// The number of entries, by default 100. A page of large events may have fewer.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
}

/// A page of the chain.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "documents what audit_chain::EntryPage serialises to")]
pub(crate) struct EventsAnswer {
    /// The entries, in ascending order.
    events: Vec<EntryAnswer>,
    /// The `after_seq` of the next page, if there is one.
    next: Option<u64>,
}

/// One entry of the chain. Hashes are lower-case hex.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "documents what audit_chain::EntryView serialises to")]
pub(crate) struct EntryAnswer {
    /// The entry's place in the chain, from 0.
    seq: u64,
    /// The hash of the previous entry.
    prev: String,
    /// The SHA-256 of the event's bytes.
    payload_hash: String,
    /// The entry's own hash.
    hash: String,
    /// The stored bytes, embedded unchanged (RFC 8785); `null` if the event is another tenant's.
    #[schema(value_type = Option<Object>)]
    event: Value,
}

/// The end of the chain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeadAnswer {
    /// The number of entries in the chain.
    size: u64,
    /// The last entry's hash, lower-case hex. For an empty chain, the `prev` of its first entry.
    head: String,
}

/// Lists the entries of the audit chain.
#[utoipa::path(
    get, path = "/v1/audit/events", tag = "audit", operation_id = "list_audit_events", params(EventsQuery),
    responses((status = 200, description = "One page", body = EventsAnswer), Guarded, Read)
)]
pub(crate) async fn events(
    caller: Caller,
    State(state): State<AppState>,
    ApiQuery(query): ApiQuery<EventsQuery>,
) -> Result<Json<EntryPage>, ApiError> {
    let limit = limit(query.limit, PAGE_LIMITS.0, PAGE_LIMITS.1)?;
    let limit = NonZeroUsize::new(limit).expect("limits begin at 1");
    Ok(Json(state.audit.events(&caller, query.after_seq, limit).await?))
}

/// Shows the size of the chain and its last hash.
#[utoipa::path(
    get, path = "/v1/audit/head", tag = "audit", operation_id = "show_audit_head",
    responses((status = 200, description = "The head", body = HeadAnswer), Guarded)
)]
pub(crate) async fn head(
    _caller: Caller,
    State(state): State<AppState>,
) -> Result<Json<HeadAnswer>, ApiError> {
    let head = state.audit.head().await?;
    Ok(Json(HeadAnswer { size: head.size, head: head.hash.to_string() }))
}

/// Returns a signed checkpoint of the chain as it is now: a C2SP `tlog-checkpoint`, signed with Ed25519,
/// whose root is the RFC 6962 Merkle root over the entries' hashes. Keep it elsewhere: a rewritten chain
/// cannot match it.
#[utoipa::path(
    get, path = "/v1/audit/checkpoint", tag = "audit", operation_id = "show_audit_checkpoint",
    responses(
        (status = 200, description = "The signed checkpoint", body = String, content_type = "text/plain"),
        Guarded, Contended,
    )
)]
pub(crate) async fn checkpoint(
    _caller: Caller,
    State(state): State<AppState>,
) -> Result<([(HeaderName, &'static str); 1], String), ApiError> {
    let signed = state.checkpoints.sign().await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], signed.note))
}
