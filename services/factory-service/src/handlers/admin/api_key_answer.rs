//! The representation of an API key.

use access::{ApiKey, KeyStatus, Scope};
use ambient::rfc3339;
use idempotency::StoredResponse;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::api_keys::KeyView;
use crate::handlers::reply;
use crate::handlers::withdrawal::WithdrawalAnswer;

/// The rotation of a key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RotationAnswer {
    /// When the key was rotated.
    #[serde(with = "rfc3339")]
    at: OffsetDateTime,
    /// The successor's id.
    to: String,
    /// The time until which the old key stays valid.
    #[serde(with = "rfc3339")]
    until: OffsetDateTime,
}

/// An API key. Its secret is present only in the answer that created it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyAnswer {
    /// The 8 characters after `vk_`.
    #[schema(example = "7g3kx0qd")]
    id: String,
    /// The whole key, only in the answer that created it. A repeat of that request is answered without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The tenant that the key belongs to.
    #[schema(example = "acme")]
    tenant: String,
    /// What the key may do.
    scopes: Vec<&'static str>,
    /// `active`, `rotating` (it has a successor and is valid for the overlap), `rotated`, `expired` or
    /// `revoked`.
    #[schema(value_type = String, example = "active")]
    state: KeyStatus,
    /// The key's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// When the key was created.
    #[serde(with = "rfc3339")]
    created_at: OffsetDateTime,
    /// The actor that created it.
    created_by: String,
    /// When the key expires.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    expires_at: Option<OffsetDateTime>,
    /// When the key was last used, to the minute. It may take a minute to appear.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    last_used_at: Option<OffsetDateTime>,
    /// The id of the key that this one replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
    /// Present once the key has a successor.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotated: Option<RotationAnswer>,
    /// Present once the key is revoked.
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

/// Returns the answer for a new key. The answer that is stored for a repeat of the request has no secret.
pub(crate) fn made(view: &KeyView, shown: Option<&ApiKey>) -> StoredResponse {
    let location = format!("/v1/admin/keys/{}", view.record.id);
    reply::created(location, &KeyAnswer::of(view.clone(), shown))
}
