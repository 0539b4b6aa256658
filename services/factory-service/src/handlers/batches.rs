//! `POST /v1/batches`, `GET /v1/batches`.

use axum::Json;
use axum::extract::State;
use http_edge::{ApiJson, ApiQuery};
use problems::ApiError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::batches::{BatchView, NewBatch};
use crate::domain::identity::Caller;
use crate::domain::input::{BatchSize, FieldError, Label, instant};
use crate::handlers::batch::BatchAnswer;
use crate::handlers::instant::Instant;
use crate::handlers::list::ListQuery;
use crate::handlers::problems::{Appends, Body, Guarded, Judged, Mints, Read};
use crate::handlers::reply::{self, Reply};
use crate::state::AppState;

/// The batch to mint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchRequest {
    /// The product that carries the tags.
    #[schema(example = "019c6652-5e00-7000-8000-0000000000aa")]
    product_id: Uuid,
    /// The number of tags.
    #[schema(example = 1000, minimum = 1, maximum = 16_777_216)]
    size: u64,
    /// The batch's label, 1 to 200 characters.
    #[schema(example = "Spring run", min_length = 1, max_length = 200)]
    label: Option<String>,
    /// When the items were made. The offset is kept, so that customers see the date at the place of
    /// manufacture.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-02-16T00:00:00+01:00")]
    manufactured_at: Option<Instant>,
    /// The time from which the tags are no longer valid. It is after `manufactured_at`, and in the future
    /// unless `allow_expired` is true.
    #[schema(value_type = Option<String>, format = DateTime, example = "2099-01-31T00:00:00Z")]
    expires_at: Option<Instant>,
    /// Whether `expires_at` may be in the past, so that no tag of the batch is ever valid. The default is
    /// false.
    #[serde(default)]
    #[schema(example = false)]
    allow_expired: bool,
}

impl BatchRequest {
    fn read(self) -> Result<NewBatch, FieldError> {
        let at = |field, given: Option<Instant>| given.map(|given| instant(field, given.0)).transpose();
        at("manufactured_at", self.manufactured_at)?;
        Ok(NewBatch {
            product_id: self.product_id,
            size: BatchSize::parse("size", self.size)?,
            label: self.label.map(|label| Label::parse("label", label)).transpose()?,
            manufactured_at: self.manufactured_at.map(|at| at.0),
            expires_at: at("expires_at", self.expires_at)?,
            allow_expired: self.allow_expired,
        })
    }
}

/// A page of batches, in the order in which they were minted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchesAnswer {
    /// The batches.
    items: Vec<BatchAnswer>,
    /// The `cursor` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<Uuid>,
}

/// Mints a batch.
#[utoipa::path(
    post, path = "/v1/batches", tag = "batches", operation_id = "create_batch", request_body = BatchRequest,
    responses(
        (
            status = 201, description = "Minted", body = BatchAnswer,
            headers(
                ("Location" = String, description = "The path of the batch"),
                ("ETag" = String, description = "The version"),
            ),
        ),
        Guarded, Body, Judged, Mints, Appends,
    ),
)]
pub(crate) async fn create(
    caller: Caller,
    State(state): State<AppState>,
    ApiJson(request): ApiJson<BatchRequest>,
) -> Result<Reply, ApiError> {
    let new = request.read()?;
    let made = |view: BatchView| {
        reply::created_and_shown(format!("/v1/batches/{}", view.batch.id), &BatchAnswer::from(view))
    };
    Ok(Reply(state.batches.create(&caller, new, made).await?))
}

/// Lists the batches of the caller's tenant.
#[utoipa::path(
    get, path = "/v1/batches", tag = "batches", operation_id = "list_batches", params(ListQuery),
    responses((status = 200, description = "One page", body = BatchesAnswer), Guarded, Read)
)]
pub(crate) async fn list(
    caller: Caller,
    State(state): State<AppState>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<BatchesAnswer>, ApiError> {
    let (after, limit) = query.read()?;
    let page = state.batches.list(&caller, after, limit).await?;
    let items = page.items.into_iter().map(BatchAnswer::from).collect();
    Ok(Json(BatchesAnswer { items, next_cursor: page.next }))
}
