//! `POST /v1/admin/tenants`, `GET /v1/admin/tenants[/{id}]`, `POST /v1/admin/tenants/{id}/suspend`, `…/resume`.

use access::TenantId;
use ambient::rfc3339;
use axum::Json;
use axum::extract::State;
use http_edge::{ApiError, ApiJson, ApiPath, ApiQuery};
use idempotency::Answer;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::domain::identity::Caller;
use crate::domain::input::{FieldError, Label};
use crate::domain::tenants::TenantView;
use crate::handlers::list::limit;
use crate::handlers::problems::{Appends, Body, Contended, Guarded, Named, Read};
use crate::handlers::refusal::of_field;
use crate::handlers::reply::{self, Reply};
use crate::handlers::withdrawal::{WithdrawRequest, WithdrawalAnswer};
use crate::state::AppState;

/// Items of a page, unless asked otherwise and at most.
const ITEMS: (u64, u64) = (50, 100);

/// A tenant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantRequest {
    /// 1 to 32 of a-z, 0-9 and -, with no - at either end. It stays for ever.
    #[schema(example = "acme", min_length = 1, max_length = 32)]
    id: String,
    /// What people call it: 1 to 200 characters.
    #[schema(example = "Acme Ltd", min_length = 1, max_length = 200)]
    name: Option<String>,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantAnswer {
    /// Its id.
    #[schema(example = "acme")]
    id: String,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// `active` or `suspended`.
    #[schema(example = "active")]
    state: &'static str,
    /// When it was made; tenant `default` was there from the start.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    created_at: Option<OffsetDateTime>,
    /// Set while it is suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended: Option<WithdrawalAnswer>,
}

/// A page of tenants, by id.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantsAnswer {
    /// The tenants.
    items: Vec<TenantAnswer>,
    /// Where the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// One page of tenants.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TenantsQuery {
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
    /// Items of the page, 50 unless given.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u64>,
}

impl From<TenantView> for TenantAnswer {
    fn from(view: TenantView) -> Self {
        match view {
            TenantView::Default => Self {
                id: TenantId::default_tenant().to_string(),
                name: None,
                state: "active",
                created_at: None,
                suspended: None,
            },
            TenantView::Made(tenant) => Self {
                id: tenant.id.to_string(),
                name: tenant.name,
                state: if tenant.suspended.is_some() { "suspended" } else { "active" },
                created_at: Some(tenant.created_at),
                suspended: tenant.suspended.map(|cause| WithdrawalAnswer::of(cause.at, cause.reason)),
            },
        }
    }
}

/// Reads a tenant's id.
pub(crate) fn tenant_id(field: &'static str, text: &str) -> Result<TenantId, ApiError> {
    text.parse().map_err(|_| {
        of_field(FieldError::Malformed {
            field,
            why: "takes 1 to 32 of a-z, 0-9 and -, with no - at either end".to_owned(),
        })
    })
}

/// A path that names no tenant that could be is one that is not there.
fn in_path(text: &str) -> Result<TenantId, ApiError> {
    text.parse().map_err(|_| ApiError::NotFound("there is no such tenant".into()))
}

fn done(tenant: TenantView) -> Answer {
    reply::ok(&TenantAnswer::from(tenant))
}

/// Makes a tenant.
#[utoipa::path(
    post, path = "/v1/admin/tenants", tag = "admin", operation_id = "create_tenant", request_body = TenantRequest,
    responses(
        (status = 201, description = "Made", body = TenantAnswer, headers(("Location" = String, description = "Its path"))),
        Guarded, Body, Contended, Appends,
    )
)]
pub(crate) async fn create(
    caller: Caller,
    State(state): State<AppState>,
    ApiJson(request): ApiJson<TenantRequest>,
) -> Result<Reply, ApiError> {
    let id = tenant_id("id", &request.id)?;
    let name = request.name.map(|name| Label::parse("name", name)).transpose().map_err(of_field)?;
    let location = format!("/v1/admin/tenants/{id}");
    let made = |tenant: TenantView| reply::created(location, &TenantAnswer::from(tenant));
    Ok(Reply(state.tenants.create(&caller, id, name.map(Label::into_string), made).await?))
}

/// Lists all tenants. Each page is an audit event.
#[utoipa::path(
    get, path = "/v1/admin/tenants", tag = "admin", operation_id = "list_tenants", params(TenantsQuery),
    responses((status = 200, description = "One page", body = TenantsAnswer), Guarded, Read, Appends)
)]
pub(crate) async fn list(
    caller: Caller,
    State(state): State<AppState>,
    ApiQuery(query): ApiQuery<TenantsQuery>,
) -> Result<Json<TenantsAnswer>, ApiError> {
    let limit = limit(query.limit, ITEMS.0, ITEMS.1)?;
    let after = query.cursor.map(|cursor| tenant_id("cursor", &cursor)).transpose()?;
    let page = state.tenants.list(&caller, after, limit).await?;
    let items = page.items.into_iter().map(TenantAnswer::from).collect();
    Ok(Json(TenantsAnswer { items, next_cursor: page.next.map(|id| id.to_string()) }))
}

/// Shows a tenant.
#[utoipa::path(
    get, path = "/v1/admin/tenants/{id}", tag = "admin", operation_id = "show_tenant",
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "The tenant", body = TenantAnswer), Guarded, Read, Named, Appends)
)]
pub(crate) async fn show(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<TenantAnswer>, ApiError> {
    Ok(Json(state.tenants.show(&caller, &in_path(&id)?).await?.into()))
}

/// Refuses all keys of a tenant from the next request on. Its tags stay what they are. Repeating it changes nothing.
#[utoipa::path(
    post, path = "/v1/admin/tenants/{id}/suspend", tag = "admin", operation_id = "suspend_tenant", request_body = WithdrawRequest,
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "Suspended", body = TenantAnswer), Guarded, Body, Named, Contended, Appends)
)]
pub(crate) async fn suspend(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<String>,
    ApiJson(request): ApiJson<WithdrawRequest>,
) -> Result<Reply, ApiError> {
    Ok(Reply(state.tenants.suspend(&caller, &in_path(&id)?, request.read()?, done).await?))
}

/// Takes a suspension back. Repeating it changes nothing.
#[utoipa::path(
    post, path = "/v1/admin/tenants/{id}/resume", tag = "admin", operation_id = "resume_tenant",
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "Active", body = TenantAnswer), Guarded, Named, Contended, Appends)
)]
pub(crate) async fn resume(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<String>,
) -> Result<Reply, ApiError> {
    Ok(Reply(state.tenants.resume(&caller, &in_path(&id)?, done).await?))
}
