//! Maps the domain's errors to problems.

use std::time::Duration;

use problems::ApiError;

use crate::domain::error::FactoryError;
use crate::handlers::admin::keyring_preview;
use crate::handlers::version::other_version;

const UNKNOWN: &str = "this API key is not known, or is no longer valid";
const SUSPENDED: &str = "the tenant of this API key is suspended";

impl From<FactoryError> for ApiError {
    fn from(error: FactoryError) -> Self {
        match error {
            FactoryError::Field(error) => error.into(),
            FactoryError::NoSuch(what) => Self::not_found(format!("there is no such {what}")),
            FactoryError::NoSuchTag => Self::TagNotFound,
            FactoryError::Conflict(why) => Self::conflict(why),
            FactoryError::QuotaExceeded(why) => Self::QuotaExceeded(why.into()),
            FactoryError::OtherVersion => other_version(),
            FactoryError::ConfirmationRequired { preview, given } => {
                keyring_preview::confirmation_required(*preview, given)
            }
            FactoryError::UnknownKey => Self::unauthenticated(UNKNOWN),
            FactoryError::Suspended => Self::unauthenticated(SUSPENDED),
            FactoryError::ClaimLost => Self::IdempotencyInFlight { retry_after: Duration::from_secs(1) },
            FactoryError::Store(error) => error.into(),
            FactoryError::Internal(fault) => Self::internal(fault),
        }
    }
}
