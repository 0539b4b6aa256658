//! `POST /v1/audit/verify`.

use ambient::rfc3339;
use axum::Json;
use axum::extract::State;
use keyring::NoteTrust;
use problems::ApiError;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::identity::Caller;
use crate::domain::input::FieldError;
use crate::domain::verified::{JudgedCheckpoint, Outcome, Verified};
use crate::handlers::or_default::OrDefault;
use crate::handlers::problems::{Body, Contended, Guarded};
use crate::state::AppState;

/// What to verify. The default is the whole chain.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"from": 0}))]
pub(crate) struct VerifyRequest {
    /// The first entry to verify.
    #[schema(example = 0)]
    from: Option<u64>,
    /// The entry before which verification stops.
    #[schema(example = 1000)]
    to: Option<u64>,
    /// Signed checkpoints that were kept elsewhere, at most 20. The chain must match them. They are allowed
    /// only if the whole chain is verified.
    #[serde(default)]
    #[schema(max_items = 20, example = json!([]))]
    checkpoints: Vec<String>,
}

/// The most checkpoints in a request.
const MAX_CHECKPOINTS: usize = 20;

/// The result of a verification.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerifyAnswer {
    /// True for the states `valid` and `never_signed` only.
    ok: bool,
    /// - `valid`: the entries are right, and a key that is not revoked has signed all of them.
    /// - `unsigned_tail`: a key that is not revoked has signed the first `signed_size` entries. This process
    ///   cannot sign the rest.
    /// - `never_signed`: the entries are right, and no signing key was ever active.
    /// - `unsigned`: a key was active, but there is no checkpoint, or only a part was verified.
    /// - `signed_by_revoked_key`: only a revoked key has signed. That proves nothing either way.
    /// - `unreadable_checkpoint`: a checkpoint was damaged in copying and proves nothing either way. Its
    ///   `why` says how.
    /// - `broken`: an entry, the head or a checkpoint is wrong.
    #[schema(value_type = String, example = "valid")]
    state: Outcome,
    /// The number of entries that were found right.
    checked: u64,
    /// The number of entries in the chain.
    size: u64,
    /// The chain's head, lower-case hex.
    head: String,
    /// The number of entries that a key which is not revoked has signed.
    signed_size: u64,
    /// The first wrong entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_error: Option<FirstErrorAnswer>,
    /// The latest checkpoint of each signing key, then those of the request. Empty if only a part was
    /// verified.
    checkpoints: Vec<CheckpointAnswer>,
}

/// A signed checkpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckpointAnswer {
    /// The number of the signing key. Absent for a checkpoint of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<u16>,
    /// The number of entries that the checkpoint covers.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// `valid`, `signed_by_revoked_key`, `broken`, `unreadable` or `unknown_key`.
    #[schema(example = "valid")]
    state: &'static str,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// When the key was revoked.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    revoked_at: Option<OffsetDateTime>,
    /// The time from which the key may have been misused.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    compromised_since: Option<OffsetDateTime>,
}

/// The values of [`CheckpointAnswer::state`].
pub(crate) const CHECKPOINT_STATES: [&str; 5] =
    ["valid", "signed_by_revoked_key", "broken", "unreadable", "unknown_key"];

impl From<JudgedCheckpoint> for CheckpointAnswer {
    fn from(judged: JudgedCheckpoint) -> Self {
        let (state, why, dates) = match (judged.contradicted, judged.trust) {
            _ if judged.unreadable.is_some() => ("unreadable", None, None),
            (Some(why), _) => ("broken", Some(why), None),
            (None, NoteTrust::Broken { why, .. }) => ("broken", Some(why), None),
            (None, NoteTrust::Valid { .. }) => ("valid", None, None),
            (None, NoteTrust::UnknownKey) => ("unknown_key", None, None),
            (None, NoteTrust::SignedByRevokedKey { revoked_at, compromised_since, .. }) => {
                ("signed_by_revoked_key", None, Some((revoked_at, compromised_since)))
            }
        };
        Self {
            key: judged.number,
            size: judged.size,
            state,
            why: judged.unreadable.map(|why| why.to_string()).or(why.map(str::to_owned)),
            revoked_at: dates.map(|(revoked_at, _)| revoked_at),
            compromised_since: dates.map(|(_, since)| since),
        }
    }
}

/// An entry that does not verify.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FirstErrorAnswer {
    /// The entry's place in the chain.
    seq: u64,
    /// What is wrong.
    why: String,
}

/// Verifies the chain or a range of it. For the whole chain it also verifies the signed checkpoints. A tenant
/// can run one verification at a time. The body is optional.
#[utoipa::path(
    post, path = "/v1/audit/verify", tag = "audit", operation_id = "verify_audit",
    request_body = Option<VerifyRequest>,
    responses(
        (status = 200, description = "Verified; `ok` and `state` hold the result", body = VerifyAnswer),
        Guarded, Body, Contended,
    ),
)]
pub(crate) async fn verify(
    caller: Caller,
    State(state): State<AppState>,
    OrDefault(request): OrDefault<VerifyRequest>,
) -> Result<Json<VerifyAnswer>, ApiError> {
    let (from, to) = (request.from.unwrap_or(0), request.to.unwrap_or(u64::MAX));
    if from > to {
        let (held, takes) = (format!("is {from}"), format!("at most to, which is {to}"));
        return Err(FieldError::malformed("from", held, takes, 0).into());
    }
    if request.checkpoints.len() > MAX_CHECKPOINTS {
        let count = request.checkpoints.len();
        let (held, takes) = (format!("holds {count}"), format!("at most {MAX_CHECKPOINTS} checkpoints"));
        return Err(FieldError::malformed("checkpoints", held, takes, "[]").into());
    }
    if !request.checkpoints.is_empty() && (from, to) != (0, u64::MAX) {
        let (held, takes) = ("applies to the whole chain only", "no from and no to in the same request");
        return Err(FieldError::malformed("checkpoints", held, takes, "[]").into());
    }
    let verified = state.audit.verify(&caller, from..to, request.checkpoints).await?;
    let (outcome, signed_size) = (verified.outcome(), verified.signed_size());
    let Verified { report, checkpoints, .. } = verified;
    Ok(Json(VerifyAnswer {
        ok: outcome.is_ok(),
        state: outcome,
        checked: report.checked,
        size: report.head.size,
        head: report.head.hash.to_string(),
        signed_size,
        first_error: report
            .first_error
            .map(|error| FirstErrorAnswer { seq: error.seq, why: error.why.to_string() }),
        checkpoints: checkpoints.into_iter().map(Into::into).collect(),
    }))
}
