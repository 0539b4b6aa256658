//! The representation of the keyring.

use ambient::rfc3339;
use keyring::{KeyFamily, KeyNumber, KeyRef, KeyringEntry, Public};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::keyring::KeyringView;

/// The revocation of a key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevocationAnswer {
    /// When the key was revoked.
    #[serde(with = "rfc3339")]
    at: OffsetDateTime,
    /// The operator's reason.
    reason: String,
    /// The time from which the key may have been misused.
    #[serde(with = "rfc3339")]
    compromised_since: OffsetDateTime,
}

/// One key of the keyring.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyringKeyAnswer {
    /// The key's number within its family.
    #[schema(example = 1)]
    number: u16,
    /// `pending`, `active`, `verify_only`, `revoked` or `destroyed`.
    #[schema(example = "active")]
    state: &'static str,
    /// For a tag epoch, the check value of its secret in hex. For a signing key, the verifier key (C2SP
    /// signed-note).
    public: String,
    /// Other tag epochs that derive from the same master secret. If one of them leaks, all of them leak.
    /// Absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    shares_secret_with: Vec<u16>,
    /// When the key was added.
    #[serde(with = "rfc3339")]
    added_at: OffsetDateTime,
    /// When the key became active.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    activated_at: Option<OffsetDateTime>,
    /// When another key became active instead.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    retired_at: Option<OffsetDateTime>,
    /// Present once the key is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<RevocationAnswer>,
    /// When the key's secret was recorded as destroyed.
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    destroyed_at: Option<OffsetDateTime>,
}

/// All keys of the keyring. `audit verify --keyring` takes this document.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyringAnswer {
    /// Tag epochs, in ascending order.
    tag: Vec<KeyringKeyAnswer>,
    /// Audit signing keys, in ascending order.
    audit: Vec<KeyringKeyAnswer>,
}

impl KeyringKeyAnswer {
    pub(crate) fn of(entry: &KeyringEntry, sharing: &[KeyNumber]) -> Self {
        Self {
            number: entry.number.get(),
            state: entry.state.as_str(),
            public: match &entry.public {
                Public::Check(check) => check.clone(),
                Public::Vkey(key) => key.to_string(),
            },
            shares_secret_with: sharing.iter().map(|number| number.get()).collect(),
            added_at: entry.added_at,
            activated_at: entry.activated_at,
            retired_at: entry.retired_at,
            revoked: entry.revoked.as_ref().map(|revocation| RevocationAnswer {
                at: revocation.at,
                reason: revocation.reason.clone(),
                compromised_since: revocation.compromised_since,
            }),
            destroyed_at: entry.destroyed_at,
        }
    }
}

impl KeyringAnswer {
    pub(crate) fn of(view: &KeyringView) -> Self {
        let all =
            |family| view.record.family(family).iter().map(|entry| in_view(view, family, entry)).collect();
        Self { tag: all(KeyFamily::Tag), audit: all(KeyFamily::Audit) }
    }
}

/// Returns one key of a view, `None` if the view does not have it.
pub(crate) fn one(view: &KeyringView, key: KeyRef) -> Option<KeyringKeyAnswer> {
    view.record.entry(key).map(|entry| in_view(view, key.family, entry))
}

fn in_view(view: &KeyringView, family: KeyFamily, entry: &KeyringEntry) -> KeyringKeyAnswer {
    let sharing = view.sharing.get(&entry.number).filter(|_| family == KeyFamily::Tag);
    KeyringKeyAnswer::of(entry, sharing.map_or(&[], Vec::as_slice))
}
