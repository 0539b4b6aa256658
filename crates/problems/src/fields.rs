//! What a field that is rejected becomes for the client.

use input::FieldError;

use crate::error::ApiError;

/// 400 if the field cannot be read, 422 if it can be read and is wrong.
impl From<FieldError> for ApiError {
    fn from(error: FieldError) -> Self {
        let detail = error.to_string();
        match error {
            FieldError::Malformed(_) => Self::invalid_request(detail),
            FieldError::Unacceptable(_) => Self::unprocessable(detail),
        }
    }
}
