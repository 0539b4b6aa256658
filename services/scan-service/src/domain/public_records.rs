//! What a scan's response shows of the product and the batch.

use ambient::rfc3339;
use catalog::{Batch, Product};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A product's public details.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProductAnswer<'a> {
    /// The product's name.
    pub(crate) name: &'a str,
    /// The product's brand.
    pub(crate) brand: &'a str,
    /// The product's GTIN, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gtin: Option<&'a str>,
}

/// A batch's public details.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchAnswer<'a> {
    /// The batch's label, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<&'a str>,
    /// When the items were made, if that is known.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) manufactured_at: Option<OffsetDateTime>,
}

impl<'a> ProductAnswer<'a> {
    pub(crate) fn of(product: &'a Product) -> Self {
        Self { name: &product.name, brand: &product.brand, gtin: product.gtin.as_deref() }
    }
}

impl<'a> BatchAnswer<'a> {
    pub(crate) fn of(batch: &'a Batch) -> Self {
        Self { label: batch.label.as_deref(), manufactured_at: batch.manufactured_at }
    }
}
