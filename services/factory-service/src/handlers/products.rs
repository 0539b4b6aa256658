//! `POST /v1/products`, `GET /v1/products`.

use axum::Json;
use axum::extract::State;
use catalog::Product;
use http_edge::{ApiJson, ApiQuery};
use problems::ApiError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::identity::Caller;
use crate::domain::input::{FieldError, Gtin, Label};
use crate::domain::products::NewProduct;
use crate::handlers::list::ListQuery;
use crate::handlers::problems::{Appends, Body, Contended, Guarded, Judged, Read};
use crate::handlers::product::ProductAnswer;
use crate::handlers::reply::{self, Reply};
use crate::state::AppState;

/// The product to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProductRequest {
    /// The product's name, 1 to 200 characters.
    #[schema(example = "Rain jacket", min_length = 1, max_length = 200)]
    name: String,
    /// The product's brand, 1 to 200 characters.
    #[schema(example = "Northern", min_length = 1, max_length = 200)]
    brand: String,
    /// The product's GTIN: 8, 12, 13 or 14 digits. The check digit is verified.
    #[schema(example = "4006381333931")]
    gtin: Option<String>,
}

impl ProductRequest {
    fn read(self) -> Result<NewProduct, FieldError> {
        Ok(NewProduct {
            name: Label::parse("name", self.name)?,
            brand: Label::parse("brand", self.brand)?,
            gtin: self.gtin.map(|gtin| Gtin::parse("gtin", gtin)).transpose()?,
        })
    }
}

/// A page of products, in the order in which they were created.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProductsAnswer {
    /// The products.
    items: Vec<ProductAnswer>,
    /// The `cursor` of the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<Uuid>,
}

/// Creates a product.
#[utoipa::path(
    post, path = "/v1/products", tag = "products", operation_id = "create_product",
    request_body = ProductRequest,
    responses(
        (
            status = 201, description = "Created", body = ProductAnswer,
            headers(
                ("Location" = String, description = "The path of the product"),
                ("ETag" = String, description = "The version"),
            ),
        ),
        Guarded, Body, Judged, Contended, Appends,
    ),
)]
pub(crate) async fn create(
    caller: Caller,
    State(state): State<AppState>,
    ApiJson(request): ApiJson<ProductRequest>,
) -> Result<Reply, ApiError> {
    let new = request.read()?;
    let made = |product: Product| {
        reply::created_and_shown(format!("/v1/products/{}", product.id), &ProductAnswer::from(product))
    };
    Ok(Reply(state.products.create(&caller, new, made).await?))
}

/// Lists the products of the caller's tenant.
#[utoipa::path(
    get, path = "/v1/products", tag = "products", operation_id = "list_products", params(ListQuery),
    responses((status = 200, description = "One page", body = ProductsAnswer), Guarded, Read)
)]
pub(crate) async fn list(
    caller: Caller,
    State(state): State<AppState>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<ProductsAnswer>, ApiError> {
    let (after, limit) = query.read()?;
    let page = state.products.list(&caller, after, limit).await?;
    let items = page.items.into_iter().map(ProductAnswer::from).collect();
    Ok(Json(ProductsAnswer { items, next_cursor: page.next }))
}
