//! `GET /v1/admin/tenants/{id}`, `PATCH …`, `POST /v1/admin/tenants/{id}/suspend`, `…/resume`.

use access::{GtinPrefix, Tenant, TenantId};
use ambient::rfc3339;
use axum::extract::State;
use axum::response::Response;
use http_edge::{ApiJson, ApiPath};
use idempotency::StoredResponse;
use problems::ApiError;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::claims::{brands, gtin_prefixes, max_batches};
use crate::domain::field_patch::FieldPatch;
use crate::domain::identity::Caller;
use crate::domain::input::{FieldError, Label};
use crate::domain::tenants::TenantPatch;
use crate::handlers::problems::{
    Appends, Body, Conditional, Contended, Guarded, Judged, Named, Read, Versioned,
};
use crate::handlers::product::given;
use crate::handlers::reply::{self, Reply};
use crate::handlers::version::Conditions;
use crate::handlers::withdrawal::{WithdrawRequest, WithdrawalAnswer};
use crate::state::AppState;

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantAnswer {
    /// The tenant's id.
    #[schema(example = "acme")]
    id: String,
    /// The tenant's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The tenant's verified brands. No other tenant may use a brand that equals or looks like one of them.
    #[schema(example = json!(["Acme"]))]
    brands: Vec<String>,
    /// The tenant's verified GTIN company prefixes.
    #[schema(example = json!(["4006381"]))]
    gtin_prefixes: Vec<String>,
    /// The most batches that the tenant may have.
    #[schema(example = 100_000)]
    max_batches: u32,
    /// `active` or `suspended`.
    #[schema(example = "active")]
    state: &'static str,
    /// When the tenant was created. Tenant `default` exists from the start.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    created_at: Option<OffsetDateTime>,
    /// Present while the tenant is suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    suspended: Option<WithdrawalAnswer>,
}

/// The members to change, at least one. Absent members keep their values.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantPatchRequest {
    /// The tenant's name, which a tag's page also shows: 1 to 200 characters. Null removes it.
    #[serde(default)]
    #[schema(value_type = Option<String>, required = false, example = "Acme Ltd")]
    name: FieldPatch<String>,
    /// All verified brands of the tenant: at most 50, together at most 3,000 bytes.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Vec<String>, required = false, max_items = 50, example = json!(["Acme"]))]
    brands: Option<Vec<String>>,
    /// All verified GTIN company prefixes of the tenant: at most 50, each of 4 to 12 digits.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Vec<String>, required = false, max_items = 50, example = json!(["4006381"]))]
    gtin_prefixes: Option<Vec<String>>,
    /// The most batches that the tenant may have. Null means 100,000.
    #[serde(default)]
    #[schema(value_type = Option<u64>, required = false, minimum = 0, maximum = 16777216, example = 100_000)]
    max_batches: FieldPatch<u64>,
}

impl TenantPatchRequest {
    fn read(self) -> Result<TenantPatch, FieldError> {
        Ok(TenantPatch {
            name: self.name.try_map(|name| Label::parse("name", name).map(Label::into_string))?,
            brands: self.brands.map(|names| brands("brands", names)).transpose()?,
            gtin_prefixes: self.gtin_prefixes.map(|all| gtin_prefixes("gtin_prefixes", &all)).transpose()?,
            max_batches: self.max_batches.try_map(|most| max_batches("max_batches", most))?,
        })
    }
}

impl From<Tenant> for TenantAnswer {
    fn from(tenant: Tenant) -> Self {
        Self {
            created_at: (!tenant.id.is_default()).then_some(tenant.created_at),
            max_batches: tenant.max_batches(),
            id: tenant.id.to_string(),
            name: tenant.name,
            brands: tenant.brands.iter().map(|brand| brand.as_str().to_owned()).collect(),
            gtin_prefixes: tenant.gtin_prefixes.iter().map(GtinPrefix::to_string).collect(),
            state: if tenant.suspended.is_some() { "suspended" } else { "active" },
            suspended: tenant.suspended.map(|cause| WithdrawalAnswer::of(cause.at, cause.reason)),
        }
    }
}

/// Parses the id in a path. No tenant has an invalid id, so that is 404.
fn in_path(text: &str) -> Result<TenantId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found("there is no such tenant"))
}

fn done(tenant: Tenant) -> StoredResponse {
    reply::shown(&TenantAnswer::from(tenant))
}

/// Shows a tenant.
#[utoipa::path(
    get, path = "/v1/admin/tenants/{id}", tag = "admin", operation_id = "show_tenant",
    params(("id" = String, Path, description = "The tenant's id")),
    responses(
        (
            status = 200, description = "The tenant", body = TenantAnswer,
            headers(("ETag" = String, description = "The version")),
        ),
        Guarded, Read, Named, Versioned, Appends,
    ),
)]
pub(crate) async fn show(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<String>,
    conditions: Conditions,
) -> Result<Response, ApiError> {
    conditions.show(&TenantAnswer::from(state.tenants.show(&caller, &in_path(&id)?).await?))
}

/// Changes a tenant. With `If-Match`, it changes only a version that the header names. Brands and GTIN
/// prefixes are those that an operator has verified. No other tenant may use them. Tenant `default` can be
/// changed too. A patch that changes nothing appends no event.
#[utoipa::path(
    patch, path = "/v1/admin/tenants/{id}", tag = "admin", operation_id = "change_tenant",
    request_body = TenantPatchRequest, params(("id" = String, Path, description = "The tenant's id")),
    responses(
        (
            status = 200, description = "The changed tenant", body = TenantAnswer,
            headers(("ETag" = String, description = "The version")),
        ),
        Guarded, Body, Named, Judged, Contended, Conditional, Appends,
    ),
)]
pub(crate) async fn change(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<String>,
    conditions: Conditions,
    ApiJson(request): ApiJson<TenantPatchRequest>,
) -> Result<Reply, ApiError> {
    let (id, patch) = (in_path(&id)?, request.read()?);
    if patch.is_empty() {
        return Err(ApiError::invalid_request(
            "the patch is empty; it takes one or more of name, brands, gtin_prefixes, max_batches, e.g. \
             {\"name\": \"Acme Ltd\"}",
        ));
    }
    let wanted = |tenant: &Tenant| conditions.allow_change_of(&TenantAnswer::from(tenant.clone()));
    Ok(Reply(done(state.tenants.update(&caller, &id, patch, wanted).await?)))
}

/// Suspends a tenant: all its keys are rejected from the next request on. Its tags keep their state.
/// Repeating it changes nothing.
#[utoipa::path(
    post, path = "/v1/admin/tenants/{id}/suspend", tag = "admin", operation_id = "suspend_tenant",
    request_body = WithdrawRequest, params(("id" = String, Path, description = "The tenant's id")),
    responses(
        (status = 200, description = "Suspended", body = TenantAnswer),
        Guarded, Body, Named, Contended, Appends,
    ),
)]
pub(crate) async fn suspend(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<String>,
    ApiJson(request): ApiJson<WithdrawRequest>,
) -> Result<Reply, ApiError> {
    Ok(Reply(state.tenants.suspend(&caller, &in_path(&id)?, request.read()?, done).await?))
}

/// Ends a suspension. Repeating it changes nothing.
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
