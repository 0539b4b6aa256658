//! `POST /v1/admin/keys`, `GET /v1/admin/keys[/{id}]`, `POST /v1/admin/keys/{id}/rotate`, `…/revoke`.

use std::time::Duration;

use access::{ApiKey, KeyId, KeyStatus, Scope, Scopes};
use axum::Json;
use axum::extract::State;
use http_edge::{ApiError, ApiJson, ApiPath, ApiQuery};
use idempotency::Answer;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;
use utoipa::{IntoParams, ToSchema};

use crate::domain::api_keys::{KeyView, NewKey};
use crate::domain::identity::Caller;
use crate::domain::input::{FieldError, Label, instant};
use crate::handlers::admin::tenants::tenant_id;
use crate::handlers::audit::OrDefault;
use crate::handlers::list::limit;
use crate::handlers::problems::{Appends, Body, Contended, Guarded, Judged, Named, Read};
use crate::handlers::refusal::of_field;
use crate::handlers::reply::{self, Reply};
use crate::handlers::withdrawal::{WithdrawRequest, WithdrawalAnswer};
use crate::state::AppState;

/// Items of a page, unless asked otherwise and at most.
const ITEMS: (u64, u64) = (50, 100);
/// How long a rotated key goes on, unless asked otherwise and at most, seconds.
const OVERLAP_S: (u64, u64) = (86_400, 90 * 86_400);

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRequest {
    /// Whose key it is to be.
    #[schema(example = "acme")]
    tenant: String,
    /// What it may do: one or more of `factory:write`, `factory:read`, `audit:read`, `scan:partner`, `admin`.
    #[schema(example = json!(["factory:write", "factory:read"]))]
    scopes: Vec<String>,
    /// What people call it: 1 to 200 characters.
    #[schema(example = "ERP, plant 2", min_length = 1, max_length = 200)]
    label: Option<String>,
    /// When it ends; never unless given.
    #[serde(default, with = "rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
}

/// How a key is replaced.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateRequest {
    /// Seconds for which the old key goes on: 0 to 7,776,000; a day unless given.
    #[schema(example = 86400, minimum = 0, maximum = 7_776_000)]
    overlap_s: Option<u64>,
}

/// A key's successor.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RotationAnswer {
    /// When.
    #[serde(with = "rfc3339")]
    at: OffsetDateTime,
    /// The successor's id.
    to: String,
    /// Until when the old key goes on.
    #[serde(with = "rfc3339")]
    until: OffsetDateTime,
}

/// An API key, without its secret, but for the one time it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyAnswer {
    /// The 8 characters after `vk_`.
    #[schema(example = "7g3kx0qd")]
    id: String,
    /// The whole key, in the answer that made it and nowhere else; a repeat of that request is answered without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Whose it is.
    #[schema(example = "acme")]
    tenant: String,
    /// What it may do.
    scopes: Vec<&'static str>,
    /// `active`, `rotating` (its successor is there, it goes on for the overlap), `rotated`, `expired` or `revoked`.
    #[schema(value_type = String, example = "active")]
    state: KeyStatus,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// When it was made.
    #[serde(with = "rfc3339")]
    created_at: OffsetDateTime,
    /// By whom.
    created_by: String,
    /// When it ends.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    expires_at: Option<OffsetDateTime>,
    /// When it was last used, to the minute; a minute may pass until that is known.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    last_used_at: Option<OffsetDateTime>,
    /// The key it took over from.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
    /// Set once it has a successor.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotated: Option<RotationAnswer>,
    /// Set once it is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<WithdrawalAnswer>,
}

/// A page of keys, in the order in which they were made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeysAnswer {
    /// The keys.
    items: Vec<KeyAnswer>,
    /// Where the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// One page of a tenant's keys.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeysQuery {
    /// Whose keys.
    tenant: String,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Items of the page, 50 unless given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u64>,
}

impl KeyAnswer {
    fn of(view: KeyView, shown: Option<&ApiKey>) -> Self {
        let KeyView { record, status, last_used_at } = view;
        Self {
            id: record.id.to_string(),
            key: shown.map(|key| key.reveal().to_owned()),
            tenant: record.tenant.to_string(),
            scopes: record.scopes.iter().map(Scope::as_str).collect(),
            state: status,
            label: record.label,
            created_at: record.created_at,
            created_by: record.created_by,
            expires_at: record.expires_at,
            last_used_at,
            replaces: record.replaces.map(|id| id.to_string()),
            rotated: record.rotated.map(|rotation| RotationAnswer {
                at: rotation.at,
                to: rotation.to.to_string(),
                until: rotation.until,
            }),
            revoked: record.revoked.map(|ended| WithdrawalAnswer::of(ended.at, ended.reason)),
        }
    }
}

fn scopes(names: &[String]) -> Result<Scopes, FieldError> {
    let malformed = |why: String| FieldError::Malformed { field: "scopes", why };
    let all = Scope::ALL.map(Scope::as_str).join(", ");
    let unknown = |name: &String| malformed(format!("holds {name:?}; it takes {all}"));
    let read = |name: &String| name.parse::<Scope>().map_err(|_| unknown(name));
    let scopes: Scopes = names.iter().map(read).collect::<Result<_, _>>()?;
    if scopes.is_empty() {
        Err(malformed("is empty; it takes at least one scope".to_owned()))
    } else {
        Ok(scopes)
    }
}

/// A path that names no key that could be is one that is not there.
fn in_path(text: &str) -> Result<KeyId, ApiError> {
    text.parse().map_err(|_| ApiError::NotFound("there is no such key".into()))
}

/// What the client is told when a key is made, and what is kept for a repeat of the request: the same without the secret.
fn made(view: &KeyView, shown: Option<&ApiKey>) -> Answer {
    let location = format!("/v1/admin/keys/{}", view.record.id);
    reply::created(location, &KeyAnswer::of(view.clone(), shown))
}

/// Makes a key and shows it, once.
#[utoipa::path(
    post, path = "/v1/admin/keys", tag = "admin", operation_id = "create_key", request_body = KeyRequest,
    responses(
        (status = 201, description = "Made; the only answer that holds `key`", body = KeyAnswer, headers(("Location" = String, description = "Its path"))),
        Guarded, Body, Judged, Contended, Appends,
    )
)]
pub(crate) async fn create(
    caller: Caller,
    State(state): State<AppState>,
    ApiJson(request): ApiJson<KeyRequest>,
) -> Result<Reply, ApiError> {
    let label = request.label.map(|label| Label::parse("label", label)).transpose().map_err(of_field)?;
    let expires_at = request.expires_at.map(|at| instant("expires_at", at)).transpose().map_err(of_field)?;
    let new = NewKey {
        tenant: tenant_id("tenant", &request.tenant)?,
        scopes: scopes(&request.scopes).map_err(of_field)?,
        label: label.map(Label::into_string),
        expires_at,
    };
    Ok(Reply(state.api_keys.create(&caller, new, made).await?))
}

/// Lists a tenant's keys. Each page is an audit event.
#[utoipa::path(
    get, path = "/v1/admin/keys", tag = "admin", operation_id = "list_keys", params(KeysQuery),
    responses((status = 200, description = "One page", body = KeysAnswer), Guarded, Read, Named, Appends)
)]
pub(crate) async fn list(
    caller: Caller,
    State(state): State<AppState>,
    ApiQuery(query): ApiQuery<KeysQuery>,
) -> Result<Json<KeysAnswer>, ApiError> {
    let limit = limit(query.limit, ITEMS.0, ITEMS.1)?;
    let tenant = tenant_id("tenant", &query.tenant)?;
    let after = query.cursor.map(|cursor| cursor.parse::<KeyId>()).transpose();
    let after = after.map_err(|_| ApiError::invalid_request("cursor is no next_cursor of a page before"))?;
    let page = state.api_keys.list(&caller, &tenant, after, limit).await?;
    let items = page.items.into_iter().map(|view| KeyAnswer::of(view, None)).collect();
    Ok(Json(KeysAnswer { items, next_cursor: page.next.map(|id| id.to_string()) }))
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

/// Makes a successor with the same tenant, scopes and end, and shows it, once; the key itself goes on for the overlap.
#[utoipa::path(
    post, path = "/v1/admin/keys/{id}/rotate", tag = "admin", operation_id = "rotate_key", request_body = Option<RotateRequest>,
    params(("id" = String, Path, description = "The 8 characters after vk_")),
    responses(
        (status = 201, description = "The successor; the only answer that holds its `key`", body = KeyAnswer, headers(("Location" = String, description = "Its path"))),
        Guarded, Body, Named, Judged, Contended, Appends,
    )
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
        let why = format!("overlap_s is {seconds}; it takes 0 to {}", OVERLAP_S.1);
        return Err(ApiError::invalid_request(why));
    }
    Ok(Reply(state.api_keys.rotate(&caller, &id, Duration::from_secs(seconds), made).await?))
}

/// Ends a key: the next request that shows it is refused, on every instance. Repeating it changes nothing.
#[utoipa::path(
    post, path = "/v1/admin/keys/{id}/revoke", tag = "admin", operation_id = "revoke_key", request_body = WithdrawRequest,
    params(("id" = String, Path, description = "The 8 characters after vk_")),
    responses((status = 200, description = "Revoked", body = KeyAnswer), Guarded, Body, Named, Contended, Appends)
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
