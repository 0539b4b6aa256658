//! A key in an export of the audit chain: the stored members, with times in the format of API responses.

use ambient::rfc3339;
use serde::Serialize;
use time::OffsetDateTime;

use crate::number::KeyNumber;
use crate::record::{KeyState, KeyringEntry, Public, Revocation};

/// The serialised form of a [`KeyringEntry`] in an export. It can be deserialised as a [`KeyringEntry`].
#[derive(Debug, Serialize)]
pub struct ExportedKey<'a> {
    number: KeyNumber,
    state: KeyState,
    #[serde(flatten)]
    public: &'a Public,
    #[serde(with = "rfc3339")]
    added_at: OffsetDateTime,
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    activated_at: Option<OffsetDateTime>,
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    retired_at: Option<OffsetDateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<ExportedRevocation<'a>>,
    #[serde(with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    destroyed_at: Option<OffsetDateTime>,
}

#[derive(Debug, Serialize)]
struct ExportedRevocation<'a> {
    #[serde(with = "rfc3339")]
    at: OffsetDateTime,
    reason: &'a str,
    #[serde(with = "rfc3339")]
    compromised_since: OffsetDateTime,
}

impl<'a> From<&'a KeyringEntry> for ExportedKey<'a> {
    fn from(key: &'a KeyringEntry) -> Self {
        let exported = |revoked: &'a Revocation| ExportedRevocation {
            at: revoked.at,
            reason: &revoked.reason,
            compromised_since: revoked.compromised_since,
        };
        Self {
            number: key.number,
            state: key.state,
            public: &key.public,
            added_at: key.added_at,
            activated_at: key.activated_at,
            retired_at: key.retired_at,
            revoked: key.revoked.as_ref().map(exported),
            destroyed_at: key.destroyed_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_exported_key_has_all_members_of_the_stored_one_and_parses_as_it() {
        let at = datetime!(2026-02-16 12:00 UTC);
        let key = KeyringEntry {
            activated_at: Some(at),
            retired_at: Some(at),
            destroyed_at: Some(at),
            revoked: Some(Revocation { at, reason: "r".to_owned(), compromised_since: at }),
            ..KeyringEntry::pending(KeyNumber::FIRST, Public::Check("00".to_owned()), at)
        };
        let text = serde_json::to_string(&ExportedKey::from(&key)).unwrap();
        assert_eq!(text.matches("2026-02-16T12:00:00.000Z").count(), 6, "{text}");
        assert_eq!(serde_json::from_str::<KeyringEntry>(&text).unwrap(), key);
        let members = |text: &str| {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            value.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(members(&text), members(&serde_json::to_string(&key).unwrap()));
    }
}
