//! `GET /v1/admin/keys/{id}`, `POST /v1/admin/keys/{id}/rotate`, `…/revoke`.

use std::time::Duration;

use access::KeyId;
use axum::Json;
use axum::extract::State;
use http_edge::{ApiJson, ApiPath};
use problems::ApiError;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::api_keys::KeyView;
use crate::domain::identity::Caller;
use crate::domain::input::FieldError;
use crate::handlers::admin::api_key_answer::{KeyAnswer, made};
use crate::handlers::or_default::OrDefault;
use crate::handlers::problems::{Appends, Body, Contended, Guarded, Judged, Named, Read};
use crate::handlers::reply::{self, Reply};
use crate::handlers::withdrawal::WithdrawRequest;
use crate::state::AppState;

/// The default and the longest overlap of a rotation in seconds.
const OVERLAP_S: (u64, u64) = (86_400, 90 * 86_400);

/// How to rotate a key.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateRequest {
    /// Seconds for which the old key stays valid: 0 to 7,776,000. The default is one day.
    #[schema(example = 86400, minimum = 0, maximum = 7_776_000)]
    overlap_s: Option<u64>,
}

/// Parses the id in a path. No key has an invalid id, so that is 404.
fn in_path(text: &str) -> Result<KeyId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found("there is no such key"))
}

/// Shows a key, without its secret.
#[utoipa::path(
    get, path = "/v1/admin/keys/{id}", tag = "admin", operation_id = "show_key",
    params(("id" = String, Path, description = "The 8 characters after vk_")),
    responses((status = 200, description = "The key", body = KeyAnswer), Guarded, Read, Named, Appends)
)]
pub(crate) async fn show(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<KeyAnswer>, ApiError> {
    Ok(Json(KeyAnswer::of(state.api_keys.show(&caller, &in_path(&id)?).await?, None)))
}

/// Creates a successor with the same tenant, scopes and expiry, and shows it once. The old key stays valid
/// for the overlap.
#[utoipa::path(
    post, path = "/v1/admin/keys/{id}/rotate", tag = "admin", operation_id = "rotate_key",
    request_body = Option<RotateRequest>,
    params(("id" = String, Path, description = "The 8 characters after vk_")),
    responses(
        (
            status = 201, description = "The successor. Only this answer holds its `key`.", body = KeyAnswer,
            headers(("Location" = String, description = "The path of the successor")),
        ),
        Guarded, Body, Named, Judged, Contended, Appends,
    ),
)]
pub(crate) async fn rotate(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<String>,
    OrDefault(request): OrDefault<RotateRequest>,
) -> Result<Reply, ApiError> {
    let id = in_path(&id)?;
    let seconds = request.overlap_s.unwrap_or(OVERLAP_S.0);
    if seconds > OVERLAP_S.1 {
        let (held, takes) = (format!("is {seconds}"), format!("0 to {}", OVERLAP_S.1));
        return Err(FieldError::malformed("overlap_s", held, takes, OVERLAP_S.0).into());
    }
    Ok(Reply(state.api_keys.rotate(&caller, &id, Duration::from_secs(seconds), made).await?))
}

/// Revokes a key. Every instance rejects the next request that presents it. Repeating it changes nothing.
#[utoipa::path(
    post, path = "/v1/admin/keys/{id}/revoke", tag = "admin", operation_id = "revoke_key",
    request_body = WithdrawRequest,
    params(("id" = String, Path, description = "The 8 characters after vk_")),
    responses(
        (status = 200, description = "Revoked", body = KeyAnswer),
        Guarded, Body, Named, Contended, Appends,
    ),
)]
pub(crate) async fn revoke(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<String>,
    ApiJson(request): ApiJson<WithdrawRequest>,
) -> Result<Reply, ApiError> {
    let done = |view: &KeyView| reply::ok(&KeyAnswer::of(view.clone(), None));
    Ok(Reply(state.api_keys.revoke(&caller, &in_path(&id)?, request.read()?, done).await?))
}
