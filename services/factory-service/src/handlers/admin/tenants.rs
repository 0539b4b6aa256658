//! `POST /v1/admin/tenants`, `GET /v1/admin/tenants`.

use access::{Tenant, TenantId};
use axum::Json;
use axum::extract::State;
use http_edge::{ApiJson, ApiQuery};
use problems::ApiError;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::identity::Caller;
use crate::domain::input::{FieldError, Label, is};
use crate::handlers::admin::tenant::TenantAnswer;
use crate::handlers::list::limit;
use crate::handlers::problems::{Appends, Body, Contended, Guarded, Read};
use crate::handlers::reply::{self, Reply};
use crate::state::AppState;

/// The default and the largest number of items in a page.
const ITEMS: (u64, u64) = (50, 100);

/// The tenant to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantRequest {
    /// 1 to 32 characters of a-z, 0-9 and -, without - at either end. It can never be changed.
    #[schema(example = "northern", min_length = 1, max_length = 32)]
    id: String,
    /// The tenant's name, 1 to 200 characters.
    #[schema(example = "Northern Ltd", min_length = 1, max_length = 200)]
    name: Option<String>,
}

/// A page of tenants, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantsAnswer {
    /// The tenants.
    items: Vec<TenantAnswer>,
    /// The `cursor` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Which page of tenants.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TenantsQuery {
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
    /// The number of items, by default 50.
    #[param(minimum = 1, maximum = 100, example = 50)]
    limit: Option<u64>,
}

/// Reads a tenant's id.
pub(crate) fn tenant_id(field: &'static str, text: &str) -> Result<TenantId, ApiError> {
    let takes = "1 to 32 of a-z, 0-9 and -, with no - at either end";
    text.parse().map_err(|_| FieldError::malformed(field, is(text), takes, "acme").into())
}

/// Creates a tenant.
#[utoipa::path(
    post, path = "/v1/admin/tenants", tag = "admin", operation_id = "create_tenant",
    request_body = TenantRequest,
    responses(
        (
            status = 201, description = "Created", body = TenantAnswer,
            headers(
                ("Location" = String, description = "The path of the tenant"),
                ("ETag" = String, description = "The version"),
            ),
        ),
        Guarded, Body, Contended, Appends,
    ),
)]
pub(crate) async fn create(
    caller: Caller,
    State(state): State<AppState>,
    ApiJson(request): ApiJson<TenantRequest>,
) -> Result<Reply, ApiError> {
    let id = tenant_id("id", &request.id)?;
    let name = request.name.map(|name| Label::parse("name", name)).transpose()?;
    let location = format!("/v1/admin/tenants/{id}");
    let made = |tenant: Tenant| reply::created_and_shown(location, &TenantAnswer::from(tenant));
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
