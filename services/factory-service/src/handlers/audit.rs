//! `GET /v1/audit/events`, `GET /v1/audit/head`, `POST /v1/audit/verify`.

use std::num::NonZeroUsize;

use audit_chain::Page;
use axum::Json;
use axum::body::Body as AxumBody;
use axum::extract::{FromRequest, Request, State};
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use http_edge::{ApiBytes, ApiError, ApiJson, ApiQuery};
use keyring::NoteStanding;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::serde::rfc3339;
use utoipa::{IntoParams, ToSchema};

use crate::domain::identity::Caller;
use crate::domain::verified::{Judged, Outcome, Verified};
use crate::handlers::list::limit;
use crate::handlers::problems::{Body, Contended, Guarded, Read};
use crate::state::AppState;

/// Entries of a page, unless asked otherwise and at most.
const EVENTS: (u64, u64) = (100, 1_000);

/// One page of the chain.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// The `next` of the page before; from the first entry without.
    after_seq: Option<u64>,
    /// Entries of the page, 100 unless given. A page of large events may have fewer.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
}

/// A page of the chain.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "documents what audit_chain::Page serialises to")]
pub(crate) struct EventsAnswer {
    /// In ascending order.
    events: Vec<EntryAnswer>,
    /// To be passed as `after_seq`, when there is more.
    next: Option<u64>,
}

/// One entry; hashes are lower-case hex.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "documents what audit_chain::EntryView serialises to")]
pub(crate) struct EntryAnswer {
    /// Its place in the chain, from 0.
    seq: u64,
    /// The hash before it.
    prev: String,
    /// SHA-256 of the event's bytes.
    payload_hash: String,
    /// The entry's own hash.
    hash: String,
    /// The stored bytes, embedded as they are (RFC 8785); `null` where the event is another tenant's.
    #[schema(value_type = Option<Object>)]
    event: Value,
}

/// Where the chain ends.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeadAnswer {
    /// Entries in the chain.
    size: u64,
    /// The last entry's hash, lower-case hex; for an empty chain, what the first would follow.
    head: String,
}

/// What to verify; everything unless given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyRequest {
    /// The first entry.
    from: Option<u64>,
    /// The entry to stop before.
    to: Option<u64>,
    /// Signed checkpoints that were kept elsewhere, at most 20, where the whole chain is verified: it must be the one that they speak of.
    #[serde(default)]
    #[schema(max_items = 20)]
    checkpoints: Vec<String>,
}

/// Checkpoints that can be brought along at most.
const MOST_KEPT: usize = 20;

/// What verifying found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerifyAnswer {
    /// Whether everything asked for is as it was written, and nothing that was signed contradicts it.
    ok: bool,
    /// `valid`: and a key that is not revoked has signed where it stood. `unsigned_tail`: the same of the first `signed_size` entries, and this process
    /// cannot sign the rest. `never_signed`: no signing key was ever active. `unsigned`: one was, and no checkpoint is there, or only a part was asked for. `signed_by_revoked_key`: only a revoked key has signed, neither yes nor no. `broken`: it is not right.
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
    /// `valid`, `signed_by_revoked_key`, `broken` or `unknown_key`.
    #[schema(example = "valid")]
    state: &'static str,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// When the key was revoked.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    revoked_at: Option<OffsetDateTime>,
    /// From when on the key may have been misused.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    compromised_since: Option<OffsetDateTime>,
}

impl From<Judged> for CheckpointAnswer {
    fn from(judged: Judged) -> Self {
        let (state, why, dates) = match (judged.contradicted, judged.standing) {
            (Some(why), _) => ("broken", Some(why), None),
            (None, NoteStanding::Broken { why, .. }) => ("broken", Some(why), None),
            (None, NoteStanding::Valid { .. }) => ("valid", None, None),
            (None, NoteStanding::UnknownKey) => ("unknown_key", None, None),
            (None, NoteStanding::SignedByRevokedKey { revoked_at, compromised_since, .. }) => {
                ("signed_by_revoked_key", None, Some((revoked_at, compromised_since)))
            }
        };
        Self {
            key: judged.number,
            size: judged.size,
            state,
            why,
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

/// Reads the chain.
#[utoipa::path(
    get, path = "/v1/audit/events", tag = "audit", operation_id = "list_audit_events", params(EventsQuery),
    responses((status = 200, description = "One page", body = EventsAnswer), Guarded, Read)
)]
pub(crate) async fn events(
    caller: Caller,
    State(state): State<AppState>,
    ApiQuery(query): ApiQuery<EventsQuery>,
) -> Result<Json<Page>, ApiError> {
    let limit = limit(query.limit, EVENTS.0, EVENTS.1)?;
    let limit = NonZeroUsize::new(limit).expect("limits begin at 1");
    Ok(Json(state.audit.events(&caller, query.after_seq, limit).await?))
}

/// Tells where the chain ends.
#[utoipa::path(
    get, path = "/v1/audit/head", tag = "audit", operation_id = "show_audit_head",
    responses((status = 200, description = "The head", body = HeadAnswer), Guarded)
)]
pub(crate) async fn head(
    _caller: Caller,
    State(state): State<AppState>,
) -> Result<Json<HeadAnswer>, ApiError> {
    let head = state.audit.head().await?;
    Ok(Json(HeadAnswer { size: head.size, head: head.hash.to_string() }))
}

/// Signs where the chain stands now: a C2SP `tlog-checkpoint`, a note signed with Ed25519, whose root is the RFC 6962 Merkle
/// root over the entries' hashes. Keep it elsewhere: a chain written anew cannot match it.
#[utoipa::path(
    get, path = "/v1/audit/checkpoint", tag = "audit", operation_id = "show_audit_checkpoint",
    responses(
        (status = 200, description = "The signed checkpoint", body = String, content_type = "text/plain"),
        Guarded, Contended,
    )
)]
pub(crate) async fn checkpoint(
    _caller: Caller,
    State(state): State<AppState>,
) -> Result<([(HeaderName, &'static str); 1], String), ApiError> {
    let signed = state.checkpoints.sign().await?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], signed.note))
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
        return Err(ApiError::invalid_request(format!("from is {from}; it takes at most to, which is {to}")));
    }
    if request.checkpoints.len() > MOST_KEPT {
        let count = request.checkpoints.len();
        return Err(ApiError::invalid_request(format!(
            "checkpoints holds {count}; it takes at most {MOST_KEPT}"
        )));
    }
    if !request.checkpoints.is_empty() && (from, to) != (0, u64::MAX) {
        let why = "checkpoints goes with the whole chain; leave from and to out";
        return Err(ApiError::invalid_request(why.to_owned()));
    }
    let verified = state.audit.verify(&caller, from..to, request.checkpoints).await?;
    let (outcome, signed_size) = (verified.outcome(), verified.signed_size());
    let Verified { report, checkpoints, .. } = verified;
    Ok(Json(VerifyAnswer {
        ok: outcome != Outcome::Broken,
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

/// A JSON body, or the default where there is none.
pub(crate) struct OrDefault<T>(pub(crate) T);

impl<T: for<'de> Deserialize<'de> + Default, S: Send + Sync> FromRequest<S> for OrDefault<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let whole = Request::from_parts(parts.clone(), body);
        let ApiBytes(bytes) = ApiBytes::from_request(whole, state).await?;
        if bytes.is_empty() && !parts.headers.contains_key(CONTENT_TYPE) {
            return Ok(Self(T::default()));
        }
        let ApiJson(value) =
            ApiJson::from_request(Request::from_parts(parts, AxumBody::from(bytes)), state).await?;
        Ok(Self(value))
    }
}
