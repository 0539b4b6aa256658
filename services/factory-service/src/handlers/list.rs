//! How lists are asked for: `?cursor=&limit=`.

use http_edge::ApiError;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

/// Items of a page unless asked otherwise.
const DEFAULT_LIMIT: u64 = 50;

/// One page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// The `next_cursor` of the page before; the first page without.
    cursor: Option<Uuid>,
    /// Items of the page, 50 unless given.
    #[param(minimum = 1, maximum = 100)]
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
    let refused = || ApiError::invalid_request(format!("limit is {number}; it takes 1 to {most}"));
    usize::try_from(number).ok().filter(|_| (1..=most).contains(&number)).ok_or_else(refused)
}
