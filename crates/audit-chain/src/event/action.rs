//! The audit actions: what can be written to [`crate::NewEvent::action`].
//!
//! To add an action, add a line to [`AuditAction`] and to the list in docs/contract.md §4, and append an
//! event with it in the same call as the state change that it reports. A stored action never changes its
//! text.

use std::fmt;

macro_rules! audit_actions {
    ($($(#[$doc:meta])+ $name:ident = $text:literal,)+) => {
        /// What was done, as the `action` of an event: `<kind>.<what was done to it>`.
        ///
        /// ```
        /// use audit_chain::AuditAction;
        ///
        /// assert_eq!(AuditAction::BatchCreated.as_str(), "batch.created");
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum AuditAction {
            $($(#[$doc])+ $name,)+
        }

        impl AuditAction {
            /// All actions.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Returns the text that is stored.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

audit_actions! {
    /// The chain was exported.
    AuditExported = "audit.exported",
    /// Entries after the head were removed.
    AuditRepaired = "audit.repaired",
    /// A batch was recovered from an export.
    BatchAdopted = "batch.adopted",
    /// A batch was created.
    BatchCreated = "batch.created",
    /// The tags of a batch were exported.
    BatchExported = "batch.exported",
    /// A batch was recalled.
    BatchRecalled = "batch.recalled",
    /// A batch was revoked.
    BatchRevoked = "batch.revoked",
    /// A restored state was accepted.
    DeploymentRestored = "deployment.restored",
    /// An API key was created.
    KeyCreated = "key.created",
    /// API keys were listed.
    KeyListed = "key.listed",
    /// An API key was revoked.
    KeyRevoked = "key.revoked",
    /// A successor of an API key was created.
    KeyRotated = "key.rotated",
    /// An API key was shown.
    KeyShown = "key.shown",
    /// The date of a compromise was corrected.
    KeyringDateCorrected = "keyring.date_corrected",
    /// A tag epoch or an audit key became the active one.
    KeyringKeyActivated = "keyring.key_activated",
    /// A tag epoch or an audit key was added.
    KeyringKeyAdded = "keyring.key_added",
    /// A tag epoch or an audit key was destroyed.
    KeyringKeyDestroyed = "keyring.key_destroyed",
    /// A tag epoch or an audit key was retired.
    KeyringKeyRetired = "keyring.key_retired",
    /// A tag epoch or an audit key was revoked.
    KeyringKeyRevoked = "keyring.key_revoked",
    /// The keyring was listed.
    KeyringListed = "keyring.listed",
    /// A product was created.
    ProductCreated = "product.created",
    /// A product was updated.
    ProductUpdated = "product.updated",
    /// A report about a tag was received.
    ReportReceived = "report.received",
    /// A tag was revoked.
    TagRevoked = "tag.revoked",
    /// A tenant was created.
    TenantCreated = "tenant.created",
    /// Tenants were listed.
    TenantListed = "tenant.listed",
    /// A suspended tenant was resumed.
    TenantResumed = "tenant.resumed",
    /// A tenant was shown.
    TenantShown = "tenant.shown",
    /// A tenant was suspended.
    TenantSuspended = "tenant.suspended",
    /// A tenant was updated.
    TenantUpdated = "tenant.updated",
    /// Reports of unknown codes were listed.
    UnprovenReportListed = "unproven_report.listed",
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<AuditAction> for String {
    fn from(action: AuditAction) -> Self {
        action.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Finds `kind.done` and `kind.done|done` in backticks.
    fn documented_actions(text: &str) -> HashSet<String> {
        let quoted = text.split('`').skip(1).step_by(2);
        let actions = quoted.filter_map(|quoted| quoted.split_once('.'));
        actions.flat_map(|(kind, done)| done.split('|').map(move |done| format!("{kind}.{done}"))).collect()
    }

    #[test]
    fn every_action_is_in_the_public_contract() {
        let documented = documented_actions(include_str!("../../../../docs/contract.md"));
        let is_missing = |action: &&AuditAction| !documented.contains(action.as_str());
        let missing: Vec<_> = AuditAction::ALL.iter().filter(is_missing).collect();
        assert!(missing.is_empty(), "not in docs/contract.md: {missing:?}");
    }

    #[test]
    fn actions_are_unique_and_name_a_kind_and_what_was_done() {
        let texts: HashSet<&str> = AuditAction::ALL.iter().map(|action| action.as_str()).collect();
        assert_eq!(texts.len(), AuditAction::ALL.len());
        let is_word =
            |word: &str| !word.is_empty() && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'));
        for text in texts {
            let words: Vec<&str> = text.split('.').collect();
            assert!(words.len() == 2 && words.into_iter().all(is_word), "{text}");
        }
    }
}
