//! Why something was not done.

use audit_chain::ReadError;
use catalog::{CatalogError, DeploymentError};
use http_edge::ApiError;
use service_kit::durable::AppendFailure;
use service_kit::errors;

use crate::domain::input::FieldError;

/// Each kind has one status; see `handlers::refusal`.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A field of the request.
    Field(FieldError),
    /// There is no such thing, or it is another tenant's; says what was asked for.
    NoSuch(&'static str),
    /// Forged, never minted, or another tenant's.
    NoSuchTag,
    /// Others were faster each time, or the same work is under way.
    Conflict(&'static str),
    /// The durable Redis, or what it holds.
    Store(ApiError),
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

impl From<CatalogError> for Refusal {
    fn from(error: CatalogError) -> Self {
        Self::Store(errors::from_catalog(error))
    }
}

impl From<DeploymentError> for Refusal {
    fn from(error: DeploymentError) -> Self {
        Self::Store(errors::from_deployment(error))
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Store(errors::from_read(error))
    }
}

impl From<AppendFailure> for Refusal {
    fn from(failure: AppendFailure) -> Self {
        Self::Store(failure.into())
    }
}
