//! Request and answer of revocations, recalls and suspensions.

use ambient::rfc3339;
use catalog::Withdrawal;
use problems::ApiError;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::input::Reason;

/// The reason of a revocation, a recall or a suspension.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WithdrawRequest {
    /// 1 to 500 characters. The audit trail keeps it. The page of the tag shows the reason of a tag or a
    /// batch to consumers.
    #[schema(example = "lost in transport", min_length = 1, max_length = 500)]
    reason: String,
}

impl WithdrawRequest {
    pub(crate) fn read(self) -> Result<Reason, ApiError> {
        Ok(Reason::parse("reason", self.reason)?)
    }
}

/// When and why something was first revoked, recalled or suspended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WithdrawalAnswer {
    /// When it happened.
    #[serde(with = "rfc3339")]
    at: OffsetDateTime,
    /// The operator's reason.
    reason: String,
}

impl WithdrawalAnswer {
    pub(crate) fn of(at: OffsetDateTime, reason: String) -> Self {
        Self { at, reason }
    }
}

impl From<Withdrawal> for WithdrawalAnswer {
    fn from(withdrawal: Withdrawal) -> Self {
        Self { at: withdrawal.at, reason: withdrawal.reason }
    }
}
