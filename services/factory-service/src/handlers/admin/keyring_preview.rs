//! The representation of a revocation's consequences, which a client has to confirm.

use ambient::rfc3339;
use http_edge::api_doc::ProblemBody;
use problems::ApiError;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::revocation_preview::{Count, Preview};

/// A number of batches and of their tags.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CountAnswer {
    /// The number of batches.
    #[schema(example = 3)]
    batches: u64,
    /// The number of tags in these batches.
    #[schema(example = 30_000)]
    tags: u64,
}

/// What a revocation or a corrected date does to the batches of the epoch, including revoked, recalled and
/// expired ones.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PreviewAnswer {
    /// The tag epoch.
    #[schema(example = 1)]
    epoch: u16,
    /// The date in the request.
    #[serde(with = "rfc3339")]
    compromised_since: OffsetDateTime,
    /// The date in force, if the epoch is already revoked.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    former_date: Option<OffsetDateTime>,
    /// Minted from that date on: they become `key_revoked`. Its `batches` is the number to confirm.
    invalid: CountAnswer,
    /// Minted before: they stay or become valid, with the risk factor `superseded_key`.
    superseded: CountAnswer,
    /// The part of `invalid` that is not `key_revoked` now.
    becomes_invalid: CountAnswer,
    /// The part of `superseded` that is `key_revoked` now.
    becomes_valid: CountAnswer,
    /// Batches of any epoch whose record cannot be read. None of the other numbers includes them.
    unreadable_batches: u64,
}

/// An error (RFC 9457) that asks for confirmation.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "documents what the edge renders")]
pub(crate) struct ConfirmationBody {
    #[serde(flatten)]
    problem: ProblemBody,
    /// The consequences of a confirmed request.
    preview: PreviewAnswer,
}

impl From<Count> for CountAnswer {
    fn from(Count { batches, tags }: Count) -> Self {
        Self { batches, tags }
    }
}

impl From<Preview> for PreviewAnswer {
    fn from(preview: Preview) -> Self {
        Self {
            epoch: preview.key.number.get(),
            compromised_since: preview.since,
            former_date: preview.former,
            invalid: preview.invalid.into(),
            superseded: preview.superseded.into(),
            becomes_invalid: preview.becomes_invalid.into(),
            becomes_valid: preview.becomes_valid.into(),
            unreadable_batches: preview.unreadable,
        }
    }
}

/// Returns 409 `confirmation-required` with the preview.
pub(crate) fn confirmation_required(preview: Preview, given: Option<u64>) -> ApiError {
    let Preview { invalid, superseded, becomes_valid, .. } = preview;
    let given = given.map_or_else(
        || "confirm_batches is missing".to_owned(),
        |given| format!("confirm_batches is {given}"),
    );
    let back = match becomes_valid.batches {
        0 => String::new(),
        batches => format!(", {batches} of them valid again"),
    };
    let detail = format!(
        "nothing was changed: {given}; it takes the number of batches that are key_revoked afterwards, \
         \"confirm_batches\": {}. Those are {} tags; {} batches with {} tags are valid with the risk \
         factor superseded_key{back}",
        invalid.batches, invalid.tags, superseded.batches, superseded.tags
    );
    let preview = serde_json::to_value(PreviewAnswer::from(preview));
    let preview = Box::new(preview.expect("plain data always serialises"));
    ApiError::ConfirmationRequired { detail, preview }
}
