//! `GET /v1/products/{id}`, `PATCH /v1/products/{id}`.

use ambient::rfc3339;
use axum::extract::State;
use axum::response::Response;
use catalog::Product;
use http_edge::{ApiJson, ApiPath};
use problems::ApiError;
use serde::{Deserialize, Deserializer, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::field_patch::FieldPatch;
use crate::domain::identity::Caller;
use crate::domain::input::{FieldError, Gtin, Label};
use crate::domain::products::ProductPatch;
use crate::handlers::problems::{
    Appends, Body, Conditional, Contended, Guarded, Judged, Named, Read, Versioned,
};
use crate::handlers::reply::{self, Reply};
use crate::handlers::version::Conditions;
use crate::state::AppState;

/// A product.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProductAnswer {
    /// The product's id, a UUIDv7.
    id: Uuid,
    /// 1 to 200 characters.
    #[schema(example = "Rain jacket")]
    name: String,
    /// 1 to 200 characters.
    #[schema(example = "Northern")]
    brand: String,
    /// The product's GTIN: 8, 12, 13 or 14 digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "4006381333931")]
    gtin: Option<String>,
    /// When the product was created.
    #[serde(with = "rfc3339")]
    created_at: OffsetDateTime,
    /// When the product was last changed.
    #[serde(with = "rfc3339")]
    updated_at: OffsetDateTime,
}

impl From<Product> for ProductAnswer {
    fn from(product: Product) -> Self {
        let Product { id, tenant: _, name, brand, gtin, created_at, updated_at } = product;
        Self { id, name, brand, gtin, created_at, updated_at }
    }
}

/// The members to change, at least one. Absent members keep their values.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProductPatchRequest {
    /// 1 to 200 characters.
    #[serde(default, deserialize_with = "given")]
    #[schema(
        value_type = String, required = false, min_length = 1, max_length = 200, example = "Rain jacket"
    )]
    name: Option<String>,
    /// 1 to 200 characters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200, example = "Northern")]
    brand: Option<String>,
    /// The GTIN: 8, 12, 13 or 14 digits. Null removes it.
    #[serde(default)]
    #[schema(value_type = Option<String>, required = false, example = "4006381333931")]
    gtin: FieldPatch<String>,
}

/// Reads a member that may be absent but not null.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl ProductPatchRequest {
    fn read(self) -> Result<ProductPatch, FieldError> {
        Ok(ProductPatch {
            name: self.name.map(|name| Label::parse("name", name)).transpose()?,
            brand: self.brand.map(|brand| Label::parse("brand", brand)).transpose()?,
            gtin: self.gtin.try_map(|text| Gtin::parse("gtin", text).map(Gtin::into_string))?,
        })
    }
}

/// Shows a product.
#[utoipa::path(
    get, path = "/v1/products/{id}", tag = "products", operation_id = "show_product",
    params(("id" = Uuid, Path, description = "The product's id")),
    responses(
        (
            status = 200, description = "The product", body = ProductAnswer,
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
    conditions.show(&ProductAnswer::from(state.products.show(&caller, &id).await?))
}

/// Changes a product. With `If-Match`, it changes only a version that the header names. A patch that changes
/// nothing returns the product as it is and appends no event.
#[utoipa::path(
    patch, path = "/v1/products/{id}", tag = "products", operation_id = "change_product",
    request_body = ProductPatchRequest,
    params(("id" = Uuid, Path, description = "The product's id")),
    responses(
        (
            status = 200, description = "The changed product", body = ProductAnswer,
            headers(("ETag" = String, description = "The version")),
        ),
        Guarded, Body, Named, Judged, Contended, Conditional, Appends,
    ),
)]
pub(crate) async fn change(
    caller: Caller,
    State(state): State<AppState>,
    ApiPath(id): ApiPath<Uuid>,
    conditions: Conditions,
    ApiJson(request): ApiJson<ProductPatchRequest>,
) -> Result<Reply, ApiError> {
    let patch = request.read()?;
    if patch.is_empty() {
        return Err(ApiError::invalid_request(
            "the patch is empty; it takes one or more of name, brand, gtin, e.g. {\"name\": \"Rain jacket\"}",
        ));
    }
    let wanted = |product: &Product| conditions.allow_change_of(&ProductAnswer::from(product.clone()));
    let changed = state.products.change(&caller, &id, patch, wanted).await?;
    Ok(Reply(reply::shown(&ProductAnswer::from(changed))))
}
