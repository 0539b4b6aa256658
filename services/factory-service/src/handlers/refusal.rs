//! What each refusal of the domain becomes for the client.

use std::time::Duration;

use problems::ApiError;

use crate::domain::refusal::Refusal;
use crate::handlers::admin::keyring_preview;
use crate::handlers::version::other_version;

const UNKNOWN: &str = "this API key is not known, or is no longer valid";
const SUSPENDED: &str = "the tenant of this API key is suspended";

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Field(error) => error.into(),
            Refusal::NoSuch(what) => Self::not_found(format!("there is no such {what}")),
            Refusal::NoSuchTag => Self::TagNotFound,
            Refusal::Conflict(why) => Self::conflict(why),
            Refusal::QuotaExceeded(why) => Self::QuotaExceeded(why.into()),
            Refusal::OtherVersion => other_version(),
            Refusal::ConfirmationRequired { preview, given } => keyring_preview::required(*preview, given),
            Refusal::UnknownKey => Self::unauthenticated(UNKNOWN),
            Refusal::Suspended => Self::unauthenticated(SUSPENDED),
            Refusal::ClaimLost => Self::IdempotencyInFlight { retry_after: Duration::from_secs(1) },
            Refusal::Store(error) => error.into(),
            Refusal::Internal(fault) => Self::internal(fault),
        }
    }
}
