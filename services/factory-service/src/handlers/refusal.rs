//! What each refusal of the domain becomes for the client.

use http_edge::ApiError;
use tag_id::TagId;

use crate::domain::input::FieldError;
use crate::domain::refusal::Refusal;

const NOT_AN_ID: &str = "not a tag id: it takes a hyphenated UUID or 26 characters of Crockford base32";

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Field(error) => of_field(error),
            Refusal::NoSuch(what) => Self::NotFound(format!("there is no such {what}").into()),
            Refusal::NoSuchTag => Self::TagNotFound,
            Refusal::Conflict(why) => Self::Conflict(why.into()),
            Refusal::Store(error) => error,
        }
    }
}

/// 400 for what cannot be read, 422 for what can and is wrong.
pub(crate) fn of_field(error: FieldError) -> ApiError {
    let detail = error.to_string();
    match error {
        FieldError::Malformed { .. } => ApiError::invalid_request(detail),
        FieldError::Unacceptable { .. } => ApiError::Unprocessable(detail.into()),
    }
}

/// Reads a tag id in any accepted form.
pub(crate) fn parse_tag(text: &str) -> Result<TagId, ApiError> {
    TagId::parse(text).map_err(|_| ApiError::InvalidTagId(NOT_AN_ID.into()))
}
