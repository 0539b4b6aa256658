//! The product's problem documents: [`ApiError`] has one variant for each problem of docs/contract.md §5, and
//! every failure of a domain crate is mapped to one of them here.
//!
//! Domain code returns its own typed errors and does not know this crate. Handlers convert them.
//!
//! ```
//! use problems::ApiError;
//! use redis_pool::{PoolError, UnavailableReason};
//! use std::time::Duration;
//!
//! let retry_after = Duration::from_millis(1_500);
//! let unavailable = PoolError::Unavailable { reason: UnavailableReason::BreakerOpen, retry_after };
//! let problem = ApiError::from(unavailable).into_problem();
//! assert_eq!((problem.status().as_u16(), problem.slug()), (503, "redis-unavailable"));
//! assert_eq!(problem.retry_after_s(), Some(2));
//! ```

mod error;
mod fields;
mod readiness;
mod storage;

pub use error::{ApiError, COUNTED_PROBLEMS};
pub use readiness::readiness_check;
