//! `GET /v1/batches/{id}/tags`: all or some tags of a batch, streamed.

use axum::body::Body as AxumBody;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use http_edge::{ApiPath, ApiQuery};
use problems::ApiError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::domain::export::ExportRange;
use crate::domain::identity::Caller;
use crate::domain::rows::Format;
use crate::handlers::problems::{Appends, Guarded, MakesTags, Named, Read};
use crate::state::AppState;

/// Which tags to export, and in which format.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// The format: `ndjson` (the default) or `csv`.
    #[serde(default)]
    #[param(inline)]
    format: FormatName,
    /// The first index, below the batch's size. The default is 0.
    #[serde(default)]
    from: u64,
    /// The number of tags. The default is all that follow.
    #[param(minimum = 1)]
    limit: Option<u64>,
}

/// The format of an export.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FormatName {
    /// One JSON object per line.
    #[default]
    Ndjson,
    /// RFC 4180 with a header.
    Csv,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Ndjson => Self::Ndjson,
            FormatName::Csv => Self::Csv,
        }
    }
}

/// One line of an NDJSON export.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "documents what is streamed")]
pub(crate) struct TagRow {
    /// The tag's place in the batch.
    index: u32,
    /// The id as a lower-case UUID.
    #[schema(example = "85e49ec3-de12-8001-bccf-0ce2e6986017")]
    tag_id: String,
    /// The id as 26 characters of Crockford base32.
    #[schema(example = "45WJFC7QGJG00VSKRCWBK9GR0Q")]
    crockford: String,
    /// The URL in the QR code.
    #[schema(example = "http://127.0.0.1:8080/t/45WJFC7QGJG00VSKRCWBK9GR0Q")]
    url: String,
}

/// Exports a batch's tags, whether or not they were revoked or recalled. Each export is an audit event.
#[utoipa::path(
    get, path = "/v1/batches/{id}/tags", tag = "batches", operation_id = "export_tags",
    params(("id" = Uuid, Path, description = "The batch's id"), ExportQuery),
    responses(
        (
            status = 200,
            description = "The tags in the order of their index. A body shorter than Content-Length was cut.",
            content((TagRow = "application/x-ndjson"), (String = "text/csv")),
        ),
        Guarded, Read, Named, Appends, MakesTags,
    ),
)]
pub(crate) async fn export(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<Uuid>,
    ApiQuery(query): ApiQuery<ExportQuery>,
) -> Result<Response, ApiError> {
    let format = Format::from(query.format);
    let wanted = ExportRange { format, from: query.from, limit: query.limit };
    let export = state.exporter.export(&caller, &id, wanted).await?;
    let file = format!("attachment; filename=\"batch-{id}.{}\"", format.name());
    let headers = [
        (CONTENT_TYPE, format.media_type().to_owned()),
        (CONTENT_DISPOSITION, file),
        (CONTENT_LENGTH, export.length.to_string()),
    ];
    Ok((headers, AxumBody::from_stream(export.rows)).into_response())
}
