//! `GET /v1/audit/export` and `GET /v1/audit/keys`: what an auditor needs to verify the chain elsewhere. Like
//! every read of the audit trail by a tenant, neither appends an event.

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
    /// The chain's name. All of its keys sign under this name.
    #[schema(example = "voketag.local/audit")]
    origin: String,
    /// The audit signing keys, in ascending order. `public` is the verifier key.
    audit: Vec<KeyringKeyAnswer>,
}

/// Returns an answer that streams an export of the chain.
pub(crate) fn as_file(lines: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CONTENT_DISPOSITION, "attachment; filename=\"audit.ndjson\""),
    ];
    (headers, AxumBody::from_stream(lines)).into_response()
}

/// Exports the chain as the caller's tenant may see it, to verify it anywhere. Every entry has its hashes.
/// The events of other tenants are `null`, also for a key with the scope `admin`. A tenant can run one such
/// export at a time.
#[utoipa::path(
    get, path = "/v1/audit/export", tag = "audit", operation_id = "export_audit_view",
    responses(
        (
            status = 200,
            description = "A header, one line for each entry, and a last record with `end`, `size` and \
                `head`. A body without the last record was cut.",
            body = String, content_type = "application/x-ndjson",
        ),
        Guarded, Contended,
    ),
)]
pub(crate) async fn export(caller: Caller, State(state): State<AppState>) -> Result<Response, ApiError> {
    Ok(as_file(state.audit_exporter.export_view(&caller).await?))
}

/// Lists the verifier keys with their states. Compare them with a copy from another channel: an attacker who
/// controls this service could show other keys.
#[utoipa::path(
    get, path = "/v1/audit/keys", tag = "audit", operation_id = "list_audit_keys",
    responses((status = 200, description = "The verifier keys", body = AuditKeysAnswer), Guarded)
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
