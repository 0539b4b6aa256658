//! `GET /v1/admin/audit/export`: the whole chain as a file.

use axum::extract::State;
use axum::response::Response;
use problems::ApiError;

use crate::domain::identity::Caller;
use crate::handlers::audit_export::as_file;
use crate::handlers::problems::{Appends, Guarded};
use crate::state::AppState;

/// Exports the whole chain with its signed checkpoints, to verify it anywhere with
/// `factory-service audit verify --file`. Each export is an audit event.
#[utoipa::path(
    get, path = "/v1/admin/audit/export", tag = "admin", operation_id = "export_audit",
    responses(
        (
            status = 200,
            description = "A header, one line for each entry, and a last record with `end`, `size` and \
                `head`. A body without the last record was cut.",
            body = String, content_type = "application/x-ndjson",
        ),
        Guarded, Appends,
    ),
)]
pub(crate) async fn export(caller: Caller, State(state): State<AppState>) -> Result<Response, ApiError> {
    Ok(as_file(state.audit_exporter.export(&caller).await?))
}
