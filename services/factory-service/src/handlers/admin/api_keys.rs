//! `POST /v1/admin/keys`, `GET /v1/admin/keys`.

use access::{KeyId, Scope, Scopes};
use axum::Json;
use axum::extract::State;
use http_edge::{ApiJson, ApiQuery};
use input::quoted;
use problems::ApiError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::api_keys::NewKey;
use crate::domain::error::no_such_cursor;
use crate::domain::identity::Caller;
use crate::domain::input::{FieldError, Label, instant};
use crate::handlers::admin::api_key_answer::{KeyAnswer, made};
use crate::handlers::admin::tenants::tenant_id;
use crate::handlers::instant::Instant;
use crate::handlers::list::limit;
use crate::handlers::problems::{Appends, Body, Contended, Guarded, Judged, Named, Read};
use crate::handlers::reply::Reply;
use crate::state::AppState;

/// The default and the largest number of items in a page.
const ITEMS: (u64, u64) = (50, 100);

/// The key to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRequest {
    /// The tenant that the key belongs to.
    #[schema(example = "acme")]
    tenant: String,
    /// What the key may do: one or more of `factory:write`, `factory:read`, `audit:read`, `scan:partner`,
    /// `admin`.
    #[schema(example = json!(["factory:write", "factory:read"]))]
    scopes: Vec<String>,
    /// The key's name, 1 to 200 characters.
    #[schema(example = "ERP, plant 2", min_length = 1, max_length = 200)]
    label: Option<String>,
    /// When the key expires. The default is never.
    #[schema(value_type = Option<String>, format = DateTime, example = "2099-01-31T00:00:00Z")]
    expires_at: Option<Instant>,
}

/// A page of keys, in the order in which they were created.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeysAnswer {
    /// The keys.
    items: Vec<KeyAnswer>,
    /// The `cursor` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Which page of a tenant's keys.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeysQuery {
    /// The tenant of the keys.
    tenant: String,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
    /// The number of items, by default 50.
    #[param(minimum = 1, maximum = 100, example = 50)]
    limit: Option<u64>,
}

fn scopes(names: &[String]) -> Result<Scopes, FieldError> {
    let takes = || format!("one or more of {}", Scope::ALL.map(Scope::as_str).join(", "));
    let malformed = |held: String| FieldError::malformed("scopes", held, takes(), r#"["factory:read"]"#);
    let unknown = |name: &String| malformed(format!("holds {}", quoted(name)));
    let read = |name: &String| name.parse::<Scope>().map_err(|_| unknown(name));
    let scopes: Scopes = names.iter().map(read).collect::<Result<_, _>>()?;
    if scopes.is_empty() { Err(malformed("is empty".to_owned())) } else { Ok(scopes) }
}

/// Creates a key and shows it once.
#[utoipa::path(
    post, path = "/v1/admin/keys", tag = "admin", operation_id = "create_key", request_body = KeyRequest,
    responses(
        (
            status = 201, description = "Created. Only this answer holds `key`.", body = KeyAnswer,
            headers(("Location" = String, description = "The path of the key")),
        ),
        Guarded, Body, Judged, Contended, Appends,
    ),
)]
pub(crate) async fn create(
    caller: Caller,
    State(state): State<AppState>,
    ApiJson(request): ApiJson<KeyRequest>,
) -> Result<Reply, ApiError> {
    let label = request.label.map(|label| Label::parse("label", label)).transpose()?;
    let expires_at = request.expires_at.map(|at| instant("expires_at", at.0)).transpose()?;
    let new = NewKey {
        tenant: tenant_id("tenant", &request.tenant)?,
        scopes: scopes(&request.scopes)?,
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
    let after = after.map_err(|_| no_such_cursor("names no key"))?;
    let page = state.api_keys.list(&caller, &tenant, after, limit).await?;
    let items = page.items.into_iter().map(|view| KeyAnswer::of(view, None)).collect();
    Ok(Json(KeysAnswer { items, next_cursor: page.next.map(|id| id.to_string()) }))
}
