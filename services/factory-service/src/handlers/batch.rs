//! `GET /v1/batches/{id}`, `POST /v1/batches/{id}/revoke`, `POST /v1/batches/{id}/recall`.

use ambient::rfc3339;
use axum::extract::State;
use axum::response::Response;
use catalog::Lifecycle;
use http_edge::{ApiJson, ApiPath};
use idempotency::StoredResponse;
use problems::ApiError;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::batches::{BatchView, Withdraw};
use crate::domain::identity::Caller;
use crate::handlers::problems::{Appends, Body, Contended, Guarded, Named, Read, Versioned};
use crate::handlers::reply::{self, Reply};
use crate::handlers::version::Conditions;
use crate::handlers::withdrawal::{WithdrawRequest, WithdrawalAnswer};
use crate::state::AppState;

/// A batch of tags.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchAnswer {
    /// The batch's id, a UUIDv7.
    id: Uuid,
    /// The product that carries the tags.
    product_id: Uuid,
    /// The number of tags. Their indexes are 0 to `size − 1`.
    #[schema(example = 1000)]
    size: u32,
    /// The key epoch under which the tags were minted.
    #[schema(example = 1)]
    epoch: u16,
    /// The batch number in the tags' ids.
    batch_no: u32,
    /// The batch's label, 1 to 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// When the items were made.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    manufactured_at: Option<OffsetDateTime>,
    /// The time from which the tags are no longer valid.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    expires_at: Option<OffsetDateTime>,
    /// When the batch was minted.
    #[serde(with = "rfc3339")]
    created_at: OffsetDateTime,
    /// `active`, `revoked`, `recalled`, `key_revoked` or `expired`. If several apply, the first in the order
    /// revoked, recalled, key_revoked, expired.
    #[schema(value_type = String, example = "active")]
    state: Lifecycle,
    /// Present once the batch is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<WithdrawalAnswer>,
    /// Present once the batch is recalled.
    #[serde(skip_serializing_if = "Option::is_none")]
    recalled: Option<WithdrawalAnswer>,
}

impl From<BatchView> for BatchAnswer {
    fn from(BatchView { batch, state }: BatchView) -> Self {
        Self {
            id: batch.id,
            product_id: batch.product_id,
            size: batch.size,
            epoch: batch.epoch.get(),
            batch_no: batch.batch_no.get(),
            label: batch.label,
            manufactured_at: batch.manufactured_at,
            expires_at: batch.expires_at,
            created_at: batch.created_at,
            state,
            revoked: batch.revoked.map(Into::into),
            recalled: batch.recalled.map(Into::into),
        }
    }
}

/// Shows a batch.
#[utoipa::path(
    get, path = "/v1/batches/{id}", tag = "batches", operation_id = "show_batch",
    params(("id" = Uuid, Path, description = "The batch's id")),
    responses(
        (
            status = 200, description = "The batch", body = BatchAnswer,
            headers(("ETag" = String, description = "The version")),
        ),
        Guarded, Read, Named, Versioned,
    ),
)]
pub(crate) async fn show(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<Uuid>,
    conditions: Conditions,
) -> Result<Response, ApiError> {
    conditions.show(&BatchAnswer::from(state.batches.show(&caller, &id).await?))
}

/// Revokes a batch permanently. Repeating it changes nothing.
#[utoipa::path(
    post, path = "/v1/batches/{id}/revoke", tag = "batches", operation_id = "revoke_batch",
    request_body = WithdrawRequest,
    params(("id" = Uuid, Path, description = "The batch's id")),
    responses(
        (status = 200, description = "Revoked; the very next scan sees it", body = BatchAnswer),
        Guarded, Body, Named, Contended, Appends,
    ),
)]
pub(crate) async fn revoke(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<Uuid>,
    ApiJson(request): ApiJson<WithdrawRequest>,
) -> Result<Reply, ApiError> {
    let answer = state.batches.withdraw(&caller, &id, Withdraw::Revoke, request.read()?, done).await?;
    Ok(Reply(answer))
}

/// Recalls a batch. Repeating it changes nothing. A revoked batch may be recalled, and a recalled batch may
/// be revoked.
#[utoipa::path(
    post, path = "/v1/batches/{id}/recall", tag = "batches", operation_id = "recall_batch",
    request_body = WithdrawRequest,
    params(("id" = Uuid, Path, description = "The batch's id")),
    responses(
        (status = 200, description = "Recalled; the very next scan sees it", body = BatchAnswer),
        Guarded, Body, Named, Contended, Appends,
    ),
)]
pub(crate) async fn recall(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<Uuid>,
    ApiJson(request): ApiJson<WithdrawRequest>,
) -> Result<Reply, ApiError> {
    let answer = state.batches.withdraw(&caller, &id, Withdraw::Recall, request.read()?, done).await?;
    Ok(Reply(answer))
}

fn done(view: BatchView) -> StoredResponse {
    reply::shown(&BatchAnswer::from(view))
}
