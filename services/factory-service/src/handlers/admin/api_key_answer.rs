//! How an API key is shown.

use access::{ApiKey, KeyStatus, Scope};
use ambient::rfc3339;
use idempotency::StoredResponse;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::api_keys::KeyView;
use crate::handlers::reply;
use crate::handlers::withdrawal::WithdrawalAnswer;

/// A key's successor.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RotationAnswer {
    /// When.
    #[serde(with = "rfc3339")]
    at: OffsetDateTime,
    /// The successor's id.
    to: String,
    /// Until when the old key goes on.
    #[serde(with = "rfc3339")]
    until: OffsetDateTime,
}

/// An API key, without its secret, but for the one time it is shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyAnswer {
    /// The 8 characters after `vk_`.
    #[schema(example = "7g3kx0qd")]
    id: String,
    /// The whole key, in the answer that made it and nowhere else; a repeat of that request is answered without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Whose it is.
    #[schema(example = "acme")]
    tenant: String,
    /// What it may do.
    scopes: Vec<&'static str>,
    /// `active`, `rotating` (its successor is there, it goes on for the overlap), `rotated`, `expired` or `revoked`.
    #[schema(value_type = String, example = "active")]
    state: KeyStatus,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// When it was made.
    #[serde(with = "rfc3339")]
    created_at: OffsetDateTime,
    /// By whom.
    created_by: String,
    /// When it ends.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    expires_at: Option<OffsetDateTime>,
    /// When it was last used, to the minute; a minute may pass until that is known.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    last_used_at: Option<OffsetDateTime>,
    /// The key it took over from.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
    /// Set once it has a successor.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotated: Option<RotationAnswer>,
    /// Set once it is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<WithdrawalAnswer>,
}

impl KeyAnswer {
    pub(crate) fn of(view: KeyView, shown: Option<&ApiKey>) -> Self {
        let KeyView { record, status, last_used_at } = view;
        Self {
            id: record.id.to_string(),
            key: shown.map(|key| key.reveal().to_owned()),
            tenant: record.tenant.to_string(),
            scopes: record.scopes.iter().map(Scope::as_str).collect(),
            state: status,
            label: record.label,
            created_at: record.created_at,
            created_by: record.created_by,
            expires_at: record.expires_at,
            last_used_at,
            replaces: record.replaces.map(|id| id.to_string()),
            rotated: record.rotated.map(|rotation| RotationAnswer {
                at: rotation.at,
                to: rotation.to.to_string(),
                until: rotation.until,
            }),
            revoked: record.revoked.map(|ended| WithdrawalAnswer::of(ended.at, ended.reason)),
        }
    }
}

/// What the client is told when a key is made, and what is kept for a repeat of the request: the same without the secret.
pub(crate) fn made(view: &KeyView, shown: Option<&ApiKey>) -> StoredResponse {
    let location = format!("/v1/admin/keys/{}", view.record.id);
    reply::created(location, &KeyAnswer::of(view.clone(), shown))
}
