//! How lists are asked for: `?cursor=&limit=`.

use problems::ApiError;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::domain::input::FieldError;

/// Items of a page unless asked otherwise.
const DEFAULT_LIMIT: u64 = 50;

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// The `next_cursor` of the previous page. Without it the first page is returned.
    #[param(example = "019c6652-5e00-7000-8000-0000000000aa")]
    cursor: Option<Uuid>,
    /// The number of items, by default 50.
    #[param(minimum = 1, maximum = 100, example = 50)]
    limit: Option<u64>,
}

impl ListQuery {
    /// After which id, and how many.
    pub(crate) fn read(self) -> Result<(Option<Uuid>, usize), ApiError> {
        Ok((self.cursor, limit(self.limit, DEFAULT_LIMIT, 100)?))
    }
}

/// A limit within 1 to `most`.
pub(crate) fn limit(given: Option<u64>, default: u64, most: u64) -> Result<usize, ApiError> {
    let number = given.unwrap_or(default);
    let refused = || FieldError::malformed("limit", format!("is {number}"), format!("1 to {most}"), default);
    Ok(usize::try_from(number).ok().filter(|_| (1..=most).contains(&number)).ok_or_else(refused)?)
}
