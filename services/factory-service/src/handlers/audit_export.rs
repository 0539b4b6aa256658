//! `GET /v1/audit/export` and `GET /v1/audit/keys`: what an auditor needs to verify the chain elsewhere. As all reading of the audit
//! trail, neither is an event.

use std::io;

use axum::Json;
use axum::body::Body as AxumBody;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::Stream;
use keyring::KeyFamily;
use problems::ApiError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::identity::Caller;
use crate::handlers::admin::keyring_answer::KeyringKeyAnswer;
use crate::handlers::problems::{Contended, Guarded};
use crate::state::AppState;

/// The keys that sign checkpoints of the chain. `audit verify --keyring` takes this document.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditKeysAnswer {
    /// The chain's name, and the name that all of its keys sign under.
    #[schema(example = "voketag.local/audit")]
    origin: String,
    /// Audit signing keys, ascending; `public` is the verifier key.
    audit: Vec<KeyringKeyAnswer>,
}

/// An export of the chain as an answer.
pub(crate) fn as_file(lines: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CONTENT_DISPOSITION, "attachment; filename=\"audit.ndjson\""),
    ];
    (headers, AxumBody::from_stream(lines)).into_response()
}

/// Exports the chain as the caller's tenant may see it, for verifying it anywhere: every entry with its hashes, the events of other
/// tenants `null`, also for a key with the scope `admin`. A tenant has one such export at a time.
#[utoipa::path(
    get, path = "/v1/audit/export", tag = "audit", operation_id = "export_audit_view",
    responses(
        (status = 200, description = "A header, one line for each entry, and a last record with `end`, `size` and `head`; a body without that record was cut", body = String, content_type = "application/x-ndjson"),
        Guarded, Contended,
    )
)]
pub(crate) async fn export(caller: Caller, State(state): State<AppState>) -> Result<Response, ApiError> {
    Ok(as_file(state.audit.export_view(&caller).await?))
}

/// Shows the verifier keys, with their states. Get them by another way than the service, too: whoever controls it could show its own.
#[utoipa::path(
    get, path = "/v1/audit/keys", tag = "audit", operation_id = "list_audit_keys",
    responses((status = 200, description = "The keys", body = AuditKeysAnswer), Guarded)
)]
pub(crate) async fn keys(
    _caller: Caller,
    State(state): State<AppState>,
) -> Result<Json<AuditKeysAnswer>, ApiError> {
    let (origin, record) = state.audit.keys()?;
    let audit =
        record.family(KeyFamily::Audit).iter().map(|entry| KeyringKeyAnswer::of(entry, &[])).collect();
    Ok(Json(AuditKeysAnswer { origin: origin.to_owned(), audit }))
}
