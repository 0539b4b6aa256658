//! `GET /v1/admin/keyring`, `POST /v1/admin/keyring/{family}`,
//! `POST /v1/admin/keyring/{family}/{number}/activate|retire|destroy`.

use axum::Json;
use axum::extract::State;
use http_edge::{ApiJson, ApiPath};
use keyring::{KeyFamily, KeyNumber, KeyRef, Move};
use problems::ApiError;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::domain::identity::Caller;
use crate::domain::input::FieldError;
use crate::domain::keyring::KeyringView;
use crate::handlers::admin::keyring_answer::{self, KeyringAnswer, KeyringKeyAnswer};
use crate::handlers::problems::{Appends, Body, Contended, Guarded, Named, Read};
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

/// The path parameters of one key, for the OpenAPI document.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only describes the path")]
pub(super) struct KeyInPath {
    /// `tag` or `audit`
    family: String,
    /// The key's number
    number: u16,
}

/// Parses `{family}/{number}` of a path.
///
/// # Errors
///
/// 404 for a family or number that cannot exist.
pub(super) fn in_path(family: &str, number: &str) -> Result<KeyRef, ApiError> {
    let no_such =
        || ApiError::not_found("there is no such key; it takes tag or audit, and a number of 1 to 4095");
    let number = number.parse().ok().and_then(KeyNumber::new).ok_or_else(no_such)?;
    Ok(KeyRef { family: family.parse().map_err(|_| no_such())?, number })
}

async fn make(state: &AppState, caller: &Caller, key: KeyRef, what: &Move) -> Result<Reply, ApiError> {
    make_confirmed(state, caller, key, what, None).await
}

pub(super) async fn make_confirmed(
    state: &AppState,
    caller: &Caller,
    key: KeyRef,
    what: &Move,
    confirmed: Option<u64>,
) -> Result<Reply, ApiError> {
    // Only the key, not the whole keyring: a repeat gets the stored answer, whose size is bounded.
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
    post, path = "/v1/admin/keyring/{family}", tag = "admin",
    operation_id = "add_keyring_key", request_body = AddRequest,
    params(("family" = String, Path, description = "`tag` or `audit`")),
    responses(
        (status = 200, description = "The key after the change", body = KeyringKeyAnswer),
        Guarded, Body, Named, Contended, Appends,
    ),
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
    post, path = "/v1/admin/keyring/{family}/{number}/activate", tag = "admin",
    operation_id = "activate_keyring_key", params(KeyInPath),
    responses(
        (status = 200, description = "The key after the change", body = KeyringKeyAnswer),
        Guarded, Read, Named, Contended, Appends,
    ),
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
    post, path = "/v1/admin/keyring/{family}/{number}/retire", tag = "admin",
    operation_id = "retire_keyring_key", params(KeyInPath),
    responses(
        (status = 200, description = "The key after the change", body = KeyringKeyAnswer),
        Guarded, Read, Named, Contended, Appends,
    ),
)]
pub(crate) async fn retire(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath((family, number)): ApiPath<(String, String)>,
) -> Result<Reply, ApiError> {
    make(&state, &caller, in_path(&family, &number)?, &Move::Retire).await
}

/// Records that the secret of a revoked or never used key was destroyed. The key stays in the keyring.
#[utoipa::path(
    post, path = "/v1/admin/keyring/{family}/{number}/destroy", tag = "admin",
    operation_id = "destroy_keyring_key", params(KeyInPath),
    responses(
        (status = 200, description = "The key after the change", body = KeyringKeyAnswer),
        Guarded, Read, Named, Contended, Appends,
    ),
)]
pub(crate) async fn destroy(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath((family, number)): ApiPath<(String, String)>,
) -> Result<Reply, ApiError> {
    make(&state, &caller, in_path(&family, &number)?, &Move::Destroy).await
}
