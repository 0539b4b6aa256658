//! What each refusal of the domain becomes for the client.

use std::time::Duration;

use http_edge::ApiError;
pub(crate) use service_kit::errors::from_field as of_field;

use crate::domain::refusal::Refusal;
use crate::handlers::admin::keyring_preview;
use crate::handlers::version::other_version;

const UNKNOWN: &str = "this API key is not known, or is no longer valid";
const SUSPENDED: &str = "the tenant of this API key is suspended";

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Field(error) => of_field(error),
            Refusal::NoSuch(what) => Self::NotFound(format!("there is no such {what}").into()),
            Refusal::NoSuchTag => Self::TagNotFound,
            Refusal::Conflict(why) => Self::Conflict(why.into()),
            Refusal::QuotaExceeded(why) => Self::QuotaExceeded(why.into()),
            Refusal::OtherVersion => other_version(),
            Refusal::ConfirmationRequired { preview, given } => keyring_preview::required(*preview, given),
            Refusal::UnknownKey => Self::Unauthenticated(UNKNOWN.into()),
            Refusal::Suspended => Self::Unauthenticated(SUSPENDED.into()),
            Refusal::ClaimLost => Self::IdempotencyInFlight { retry_after: Duration::from_secs(1) },
            Refusal::Store(error) => error,
        }
    }
}
