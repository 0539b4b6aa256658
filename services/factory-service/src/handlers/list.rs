//! The query parameters of lists: `?cursor=&limit=`.

use problems::ApiError;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::domain::input::FieldError;

/// The default number of items in a page.
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
    /// Returns the id after which the page begins, and the number of items.
    pub(crate) fn read(self) -> Result<(Option<Uuid>, usize), ApiError> {
        Ok((self.cursor, limit(self.limit, DEFAULT_LIMIT, 100)?))
    }
}

/// Checks that the limit is 1 to `most`.
pub(crate) fn limit(given: Option<u64>, default: u64, most: u64) -> Result<usize, ApiError> {
    let number = given.unwrap_or(default);
    let out_of_range =
        || FieldError::malformed("limit", format!("is {number}"), format!("1 to {most}"), default);
    Ok(usize::try_from(number).ok().filter(|_| (1..=most).contains(&number)).ok_or_else(out_of_range)?)
}
