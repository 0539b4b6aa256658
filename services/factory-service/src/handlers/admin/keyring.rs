//! `GET /v1/admin/keyring`, `POST /v1/admin/keyring/{family}`,
//! `POST /v1/admin/keyring/{family}/{number}/activate|retire|revoke|correct-date|destroy`.

use axum::Json;
use axum::extract::State;
use http_edge::{ApiJson, ApiPath};
use keyring::{KeyFamily, KeyNumber, KeyRef, Move};
use problems::ApiError;
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::identity::Caller;
use crate::domain::input::{FieldError, Label, instant};
use crate::domain::keyring::KeyringView;
use crate::handlers::admin::keyring_answer::{self, KeyringAnswer, KeyringKeyAnswer};
use crate::handlers::instant::Instant;
use crate::handlers::problems::{Appends, Body, Confirmed, Contended, Guarded, Judged, Named, Read};
use crate::handlers::reply::{self, Reply};
use crate::state::AppState;

/// The key to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AddRequest {
    /// 1 to 4095: a tag epoch, or the number of `AUDIT_SIGNING_KEY_<number>`. This process must hold the
    /// secret.
    #[schema(example = 2, minimum = 1, maximum = 4095)]
    number: u16,
}

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

/// `{family}/{number}` of the path; what names no key that could be is not there.
fn in_path(family: &str, number: &str) -> Result<KeyRef, ApiError> {
    let no_such =
        || ApiError::not_found("there is no such key; it takes tag or audit, and a number of 1 to 4095");
    let number = number.parse().ok().and_then(KeyNumber::new).ok_or_else(no_such)?;
    Ok(KeyRef { family: family.parse().map_err(|_| no_such())?, number })
}

async fn make(state: &AppState, caller: &Caller, key: KeyRef, what: &Move) -> Result<Reply, ApiError> {
    make_confirmed(state, caller, key, what, None).await
}

async fn make_confirmed(
    state: &AppState,
    caller: &Caller,
    key: KeyRef,
    what: &Move,
    confirmed: Option<u64>,
) -> Result<Reply, ApiError> {
    // Not the whole keyring: what is answered is kept beside the move for a repeat, and has to fit there.
    let answer = |keyring: &KeyringView| reply::ok(&keyring_answer::one(keyring, key));
    Ok(Reply(state.key_moves.make(caller, key, what, confirmed, answer).await?))
}

/// Lists all tag epochs and signing keys. Each request is an audit event.
#[utoipa::path(
    get, path = "/v1/admin/keyring", tag = "admin", operation_id = "list_keyring",
    responses((status = 200, description = "All keys", body = KeyringAnswer), Guarded, Appends)
)]
pub(crate) async fn list(
    caller: Caller,
    State(state): State<AppState>,
) -> Result<Json<KeyringAnswer>, ApiError> {
    Ok(Json(KeyringAnswer::of(&state.key_moves.list(&caller).await?)))
}

/// Adds a key to the keyring, as `pending`.
#[utoipa::path(
    post, path = "/v1/admin/keyring/{family}", tag = "admin", operation_id = "add_keyring_key", request_body = AddRequest,
    params(("family" = String, Path, description = "`tag` or `audit`")),
    responses((status = 200, description = "The key after the change", body = KeyringKeyAnswer), Guarded, Body, Named, Contended, Appends)
)]
pub(crate) async fn add(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(family): ApiPath<String>,
    ApiJson(request): ApiJson<AddRequest>,
) -> Result<Reply, ApiError> {
    let held = format!("is {}", request.number);
    let number = KeyNumber::new(request.number)
        .ok_or_else(|| FieldError::malformed("number", held, "1 to 4095", 2))?;
    let family: KeyFamily =
        family.parse().map_err(|_| ApiError::not_found("there is no such family; it takes tag or audit"))?;
    make(&state, &caller, KeyRef { family, number }, &Move::Add).await
}

/// Makes a pending key the active one. The previous key still verifies. Fails with 409 while a live instance
/// lacks the secret.
#[utoipa::path(
    post, path = "/v1/admin/keyring/{family}/{number}/activate", tag = "admin", operation_id = "activate_keyring_key",
    params(("family" = String, Path, description = "`tag` or `audit`"), ("number" = u16, Path, description = "The key's number")),
    responses((status = 200, description = "The key after the change", body = KeyringKeyAnswer), Guarded, Read, Named, Contended, Appends)
)]
pub(crate) async fn activate(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath((family, number)): ApiPath<(String, String)>,
) -> Result<Reply, ApiError> {
    make(&state, &caller, in_path(&family, &number)?, &Move::Activate).await
}

/// Retires the active key and activates the one pending key.
#[utoipa::path(
    post, path = "/v1/admin/keyring/{family}/{number}/retire", tag = "admin", operation_id = "retire_keyring_key",
    params(("family" = String, Path, description = "`tag` or `audit`"), ("number" = u16, Path, description = "The key's number")),
    responses((status = 200, description = "The key after the change", body = KeyringKeyAnswer), Guarded, Read, Named, Contended, Appends)
)]
pub(crate) async fn retire(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath((family, number)): ApiPath<(String, String)>,
) -> Result<Reply, ApiError> {
    make(&state, &caller, in_path(&family, &number)?, &Move::Retire).await
}

/// Revokes a leaked key, with the time from which it may have been misused. For a tag epoch the first answer
/// is 409 `confirmation-required`, with what becomes invalid. Repeat the request with that number of batches
/// as `confirm_batches`.
#[utoipa::path(
    post, path = "/v1/admin/keyring/{family}/{number}/revoke", tag = "admin", operation_id = "revoke_keyring_key", request_body = RevokeRequest,
    params(("family" = String, Path, description = "`tag` or `audit`"), ("number" = u16, Path, description = "The key's number")),
    responses((status = 200, description = "The key after the change", body = KeyringKeyAnswer), Guarded, Body, Named, Judged, Confirmed, Appends)
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
    post, path = "/v1/admin/keyring/{family}/{number}/correct-date", tag = "admin", operation_id = "correct_keyring_date", request_body = RevokeRequest,
    params(("family" = String, Path, description = "`tag` or `audit`"), ("number" = u16, Path, description = "The key's number")),
    responses((status = 200, description = "The key after the change", body = KeyringKeyAnswer), Guarded, Body, Named, Judged, Confirmed, Appends)
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

/// Records that the secret of a revoked or never used key was destroyed. The key stays in the keyring.
#[utoipa::path(
    post, path = "/v1/admin/keyring/{family}/{number}/destroy", tag = "admin", operation_id = "destroy_keyring_key",
    params(("family" = String, Path, description = "`tag` or `audit`"), ("number" = u16, Path, description = "The key's number")),
    responses((status = 200, description = "The key after the change", body = KeyringKeyAnswer), Guarded, Read, Named, Contended, Appends)
)]
pub(crate) async fn destroy(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath((family, number)): ApiPath<(String, String)>,
) -> Result<Reply, ApiError> {
    make(&state, &caller, in_path(&family, &number)?, &Move::Destroy).await
}
