//! `GET /v1/admin/audit/export`: the whole chain as a file.

use axum::body::Body as AxumBody;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use http_edge::ApiError;

use crate::domain::identity::Caller;
use crate::handlers::problems::{Appends, Guarded};
use crate::state::AppState;

/// Exports the whole chain with its signed checkpoints, for verifying it anywhere: `factory-service audit verify --file`. Each
/// export is an audit event.
#[utoipa::path(
    get, path = "/v1/admin/audit/export", tag = "admin", operation_id = "export_audit",
    responses(
        (status = 200, description = "A header, then one line for each entry; a body cut short is no export", body = String, content_type = "application/x-ndjson"),
        Guarded, Appends,
    )
)]
pub(crate) async fn export(caller: Caller, State(state): State<AppState>) -> Result<Response, ApiError> {
    let lines = state.audit.export(&caller).await?;
    let headers = [
        (CONTENT_TYPE, "application/x-ndjson"),
        (CONTENT_DISPOSITION, "attachment; filename=\"audit.ndjson\""),
    ];
    Ok((headers, AxumBody::from_stream(lines)).into_response())
}
