//! `POST /v1/admin/keyring/{family}/{number}/revoke|correct-date`.

use axum::extract::State;
use http_edge::{ApiJson, ApiPath};
use keyring::{KeyFamily, Move};
use problems::ApiError;
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::identity::Caller;
use crate::domain::input::{FieldError, Label, instant};
use crate::handlers::admin::keyring::{KeyInPath, in_path, make_confirmed};
use crate::handlers::admin::keyring_answer::KeyringKeyAnswer;
use crate::handlers::instant::Instant;
use crate::handlers::problems::{Appends, Body, Confirmed, Guarded, Judged, Named};
use crate::handlers::reply::Reply;
use crate::state::AppState;

/// Why a key is revoked, and the time from which it may have been misused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeRequest {
    /// 1 to 200 characters. The audit trail keeps it.
    #[schema(example = "laptop stolen", min_length = 1, max_length = 200)]
    reason: String,
    /// The time from which the key may have been misused, not in the future. `…/correct-date` corrects it.
    #[schema(value_type = String, format = DateTime, example = "2026-11-01T00:00:00Z")]
    compromised_since: Instant,
    /// For a tag epoch: the number of batches that become invalid, as in `preview.invalid.batches` of the
    /// 409.
    #[schema(example = 0)]
    confirm_batches: Option<u64>,
}

impl RevokeRequest {
    fn read(self, family: KeyFamily) -> Result<(String, OffsetDateTime, Option<u64>), ApiError> {
        let reason = Label::parse("reason", self.reason)?.into_string();
        let since = instant("compromised_since", self.compromised_since.0)?;
        if let (KeyFamily::Audit, Some(given)) = (family, self.confirm_batches) {
            let takes = "no number, since a signing key has no batches; leave it out";
            return Err(FieldError::malformed("confirm_batches", format!("is {given}"), takes, "null").into());
        }
        Ok((reason, since, self.confirm_batches))
    }
}

/// Revokes a leaked key, with the time from which it may have been misused. For a tag epoch the first answer
/// is 409 `confirmation-required`, with what becomes invalid. Repeat the request with that number of batches
/// as `confirm_batches`.
#[utoipa::path(
    post, path = "/v1/admin/keyring/{family}/{number}/revoke", tag = "admin",
    operation_id = "revoke_keyring_key", request_body = RevokeRequest, params(KeyInPath),
    responses(
        (status = 200, description = "The key after the change", body = KeyringKeyAnswer),
        Guarded, Body, Named, Judged, Confirmed, Appends,
    ),
)]
pub(crate) async fn revoke(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath((family, number)): ApiPath<(String, String)>,
    ApiJson(request): ApiJson<RevokeRequest>,
) -> Result<Reply, ApiError> {
    let key = in_path(&family, &number)?;
    let (reason, compromised_since, confirmed) = request.read(key.family)?;
    make_confirmed(&state, &caller, key, &Move::Revoke { reason, compromised_since }, confirmed).await
}

/// Corrects the time from which a revoked key may have been misused, earlier or later. For a tag epoch it
/// needs the same confirmation as a revocation.
#[utoipa::path(
    post, path = "/v1/admin/keyring/{family}/{number}/correct-date", tag = "admin",
    operation_id = "correct_keyring_date", request_body = RevokeRequest, params(KeyInPath),
    responses(
        (status = 200, description = "The key after the change", body = KeyringKeyAnswer),
        Guarded, Body, Named, Judged, Confirmed, Appends,
    ),
)]
pub(crate) async fn correct_date(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath((family, number)): ApiPath<(String, String)>,
    ApiJson(request): ApiJson<RevokeRequest>,
) -> Result<Reply, ApiError> {
    let key = in_path(&family, &number)?;
    let (reason, compromised_since, confirmed) = request.read(key.family)?;
    make_confirmed(&state, &caller, key, &Move::CorrectDate { reason, compromised_since }, confirmed).await
}
