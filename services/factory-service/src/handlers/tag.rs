//! `GET /v1/tags/{tag_id}`, `GET /v1/tags/{tag_id}/qr.svg`, `POST /v1/tags/{tag_id}/revoke`.

use ambient::rfc3339;
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use catalog::Lifecycle;
use http_edge::{ApiJson, ApiPath, HttpError};
use problems::ApiError;
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use serde::Serialize;
use tag_id::TagId;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::identity::Caller;
use crate::domain::tags::TagView;
use crate::handlers::problems::{Appends, Body, Guarded, NamedTag};
use crate::handlers::reply::{self, Reply};
use crate::handlers::withdrawal::{WithdrawRequest, WithdrawalAnswer};
use crate::state::AppState;

/// The least width and height of a QR code in SVG user units.
const QR_SIZE: u32 = 256;

/// A tag, as an operator sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TagAnswer {
    /// The id as a lower-case UUID.
    #[schema(example = "85e49ec3-de12-8001-bccf-0ce2e6986017")]
    tag_id: String,
    /// The id as 26 characters of Crockford base32.
    #[schema(example = "45WJFC7QGJG00VSKRCWBK9GR0Q")]
    crockford: String,
    /// The URL in the QR code.
    url: String,
    /// The key epoch under which the tag was minted.
    epoch: u16,
    /// The number of the tag's batch.
    batch_no: u32,
    /// The tag's place in the batch.
    index: u32,
    /// The id of the tag's batch.
    batch_id: Uuid,
    /// The product that carries the tag.
    product_id: Uuid,
    /// `active`, `revoked` (alone or with its batch), `recalled`, `key_revoked` or `expired`.
    #[schema(value_type = String, example = "active")]
    lifecycle: Lifecycle,
    /// Whether a scan returns `valid: true`.
    valid: bool,
    /// Scans so far. This request does not count.
    scan_count: u32,
    /// The time of the first scan.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    first_scan_at: Option<OffsetDateTime>,
    /// The time of the last scan.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    last_scan_at: Option<OffsetDateTime>,
    /// Present once this single tag is revoked. A revoked batch shows it in its own record.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<WithdrawalAnswer>,
}

impl From<TagView> for TagAnswer {
    fn from(view: TagView) -> Self {
        Self {
            tag_id: view.id.to_string(),
            crockford: view.id.crockford().to_string(),
            url: view.url,
            epoch: view.opened.epoch.get(),
            batch_no: view.opened.batch.get(),
            index: view.opened.index.get(),
            batch_id: view.batch.id,
            product_id: view.batch.product_id,
            lifecycle: view.lifecycle,
            valid: view.lifecycle == Lifecycle::Active,
            scan_count: view.scan_count,
            first_scan_at: view.scanned_at.map(|(first, _)| first),
            last_scan_at: view.scanned_at.map(|(_, last)| last),
            revoked: view.revoked.map(Into::into),
        }
    }
}

/// A path that is not UTF-8 is handled as an invalid id.
type TagPath = Result<ApiPath<String>, HttpError>;

fn id_of(path: TagPath) -> Result<TagId, ApiError> {
    let text = path.map_or_else(|_| String::new(), |ApiPath(text)| text);
    TagId::parse(&text).map_err(|_| ApiError::invalid_tag_id(&text))
}

/// Shows a tag, without counting a scan.
#[utoipa::path(
    get, path = "/v1/tags/{tag_id}", tag = "tags", operation_id = "show_tag",
    params(
        (
            "tag_id" = String, Path,
            description = "A hyphenated UUID or 26 characters of Crockford base32, in either case",
        ),
    ),
    responses((status = 200, description = "The tag", body = TagAnswer), Guarded, NamedTag),
)]
pub(crate) async fn show(
    caller: Caller,
    State(state): State<AppState>,
    tag: TagPath,
) -> Result<Json<TagAnswer>, ApiError> {
    let id = id_of(tag)?;
    Ok(Json(state.tags.show(&caller, id).await?.into()))
}

/// Returns a tag's QR code as an SVG image.
#[utoipa::path(
    get, path = "/v1/tags/{tag_id}/qr.svg", tag = "tags", operation_id = "show_tag_qr",
    params(
        (
            "tag_id" = String, Path,
            description = "A hyphenated UUID or 26 characters of Crockford base32, in either case",
        ),
    ),
    responses(
        (
            status = 200,
            description = "A QR code of the tag's `url`: error correction M, with its quiet zone",
            body = String, content_type = "image/svg+xml",
        ),
        Guarded, NamedTag,
    ),
)]
pub(crate) async fn qr(
    caller: Caller,
    State(state): State<AppState>,
    tag: TagPath,
) -> Result<Response, ApiError> {
    let id = id_of(tag)?;
    let url = state.tags.url(&caller, id).await?;
    let code = QrCode::with_error_correction_level(&url, EcLevel::M).map_err(ApiError::internal)?;
    let drawing = code.render::<svg::Color<'_>>().quiet_zone(true).min_dimensions(QR_SIZE, QR_SIZE).build();
    Ok(([(CONTENT_TYPE, "image/svg+xml")], drawing).into_response())
}

/// Revokes one tag permanently. Repeating it changes nothing.
#[utoipa::path(
    post, path = "/v1/tags/{tag_id}/revoke", tag = "tags", operation_id = "revoke_tag",
    request_body = WithdrawRequest,
    params(
        (
            "tag_id" = String, Path,
            description = "A hyphenated UUID or 26 characters of Crockford base32, in either case",
        ),
    ),
    responses(
        (status = 200, description = "Revoked; the very next scan sees it", body = TagAnswer),
        Guarded, Body, NamedTag, Appends,
    ),
)]
pub(crate) async fn revoke(
    caller: Caller,
    State(state): State<AppState>,
    tag: TagPath,
    ApiJson(request): ApiJson<WithdrawRequest>,
) -> Result<Reply, ApiError> {
    let id = id_of(tag)?;
    let done = |view| reply::ok(&TagAnswer::from(view));
    Ok(Reply(state.tags.revoke(&caller, id, request.read()?, done).await?))
}
