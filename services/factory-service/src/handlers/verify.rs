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

/// What to verify; everything unless given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"from": 0}))]
pub(crate) struct VerifyRequest {
    /// The first entry.
    #[schema(example = 0)]
    from: Option<u64>,
    /// The entry to stop before.
    #[schema(example = 1000)]
    to: Option<u64>,
    /// Signed checkpoints that were kept elsewhere, at most 20, where the whole chain is verified: it must be the one that they speak of.
    #[serde(default)]
    #[schema(max_items = 20, example = json!([]))]
    checkpoints: Vec<String>,
}

/// Checkpoints that can be brought along at most.
const MOST_KEPT: usize = 20;

/// What verifying found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerifyAnswer {
    /// True of the states `valid` and `never_signed`, and of no other.
    ok: bool,
    /// `valid`: and a key that is not revoked has signed where it stood. `unsigned_tail`: the same of the first `signed_size` entries, and this process
    /// cannot sign the rest. `never_signed`: no signing key was ever active. `unsigned`: one was, and no checkpoint is there, or only a part was asked for. `signed_by_revoked_key`: only a revoked key has signed, neither yes nor no.
    /// `unreadable_checkpoint`: a checkpoint was damaged in copying, and says neither yes nor no; its `why` says how. `broken`: it is not right.
    #[schema(value_type = String, example = "valid")]
    state: Outcome,
    /// Entries found right.
    checked: u64,
    /// Entries in the chain that was verified against.
    size: u64,
    /// Its head, lower-case hex.
    head: String,
    /// Entries that a key which is not revoked has signed.
    signed_size: u64,
    /// The first entry that is not right.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_error: Option<FirstErrorAnswer>,
    /// The latest checkpoint of each signing key, then those that were brought along; empty where only a part was asked for.
    checkpoints: Vec<CheckpointAnswer>,
}

/// A signed checkpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckpointAnswer {
    /// The number of the signing key; left out of one that was brought along.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<u16>,
    /// Entries it speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// `valid`, `signed_by_revoked_key`, `broken`, `unreadable` or `unknown_key`.
    #[schema(example = "valid")]
    state: &'static str,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// When the key was revoked.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    revoked_at: Option<OffsetDateTime>,
    /// From when on the key may have been misused.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    compromised_since: Option<OffsetDateTime>,
}

/// What [`CheckpointAnswer::state`] may be.
pub(crate) const CHECKPOINT_STATES: [&str; 5] =
    ["valid", "signed_by_revoked_key", "broken", "unreadable", "unknown_key"];

impl From<JudgedCheckpoint> for CheckpointAnswer {
    fn from(judged: JudgedCheckpoint) -> Self {
        let (state, why, dates) = match (judged.contradicted, judged.standing) {
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
    /// Its place in the chain.
    seq: u64,
    /// What is wrong with it.
    why: String,
}

/// Verifies the chain or a range of it, of the whole also the signed checkpoints, one request of a tenant at a time. The body may be left out.
#[utoipa::path(
    post, path = "/v1/audit/verify", tag = "audit", operation_id = "verify_audit", request_body = Option<VerifyRequest>,
    responses((status = 200, description = "Verified; `ok` tells how it ended", body = VerifyAnswer), Guarded, Body, Contended)
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
    if request.checkpoints.len() > MOST_KEPT {
        let count = request.checkpoints.len();
        let (held, takes) = (format!("holds {count}"), format!("at most {MOST_KEPT} checkpoints"));
        return Err(FieldError::malformed("checkpoints", held, takes, "[]").into());
    }
    if !request.checkpoints.is_empty() && (from, to) != (0, u64::MAX) {
        let (held, takes) = ("goes with the whole chain", "no from and no to beside it");
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
