//! The result of a verification of the audit chain.

use audit_chain::{CheckpointTextError, VerifyReport};
use keyring::NoteTrust;
use serde::Serialize;

/// A checkpoint and what it proves about the chain.
#[derive(Debug)]
pub(crate) struct JudgedCheckpoint {
    /// The number of the key that it is stored under. `None` if the request contained it.
    pub(crate) number: Option<u16>,
    /// The number of entries that it covers, if it can be read.
    pub(crate) size: Option<u64>,
    pub(crate) trust: NoteTrust,
    /// Why it does not match this chain, regardless of its signatures.
    pub(crate) contradicted: Option<&'static str>,
    /// Why it cannot be read. It then proves nothing either way.
    pub(crate) unreadable: Option<CheckpointTextError>,
}

impl JudgedCheckpoint {
    pub(crate) fn unreadable(number: Option<u16>, why: CheckpointTextError) -> Self {
        let (trust, contradicted) = (NoteTrust::UnknownKey, None);
        Self { number, size: None, trust, contradicted, unreadable: Some(why) }
    }

    /// Returns whether it matches this chain and a key that is not revoked signed it.
    pub(crate) fn is_trusted(&self) -> bool {
        self.outcome() == Outcome::Valid
    }

    /// Returns what this checkpoint alone proves about the chain.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.trust {
            _ if self.unreadable.is_some() => Outcome::UnreadableCheckpoint,
            _ if self.contradicted.is_some() => Outcome::Broken,
            NoteTrust::Broken { .. } => Outcome::Broken,
            NoteTrust::Valid { .. } => Outcome::Valid,
            NoteTrust::SignedByRevokedKey { .. } => Outcome::SignedByRevokedKey,
            NoteTrust::UnknownKey => Outcome::Unsigned,
        }
    }
}

/// What a verification found.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) report: VerifyReport,
    /// The latest checkpoint of each key, if the whole chain was verified.
    pub(crate) checkpoints: Vec<JudgedCheckpoint>,
    /// Whether the whole chain was verified and no signing key was ever active, so nothing can be signed.
    pub(crate) never_signed: bool,
}

impl Verified {
    /// Returns the number of entries that a trusted key has signed.
    pub(crate) fn signed_size(&self) -> u64 {
        signed_size(&self.checkpoints)
    }
}

/// Returns the number of entries that a trusted key has signed.
pub(crate) fn signed_size(checkpoints: &[JudgedCheckpoint]) -> u64 {
    let trusted = checkpoints.iter().filter(|judged| judged.is_trusted());
    trusted.filter_map(|judged| judged.size).max().unwrap_or(0)
}

/// The result of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The entries are right, and a key that is not revoked has signed all of them.
    Valid,
    /// The entries are right, but a trusted key has signed only the first ones. An attacker who controls
    /// Redis could have rewritten the rest.
    UnsignedTail,
    /// The entries are right. No checkpoint was verified, or there is no checkpoint although a key was
    /// active.
    Unsigned,
    /// The entries are right, and no signing key was ever active, so there is nothing else to verify.
    NeverSigned,
    /// The entries are right, and only a revoked key has signed them. That proves nothing either way.
    SignedByRevokedKey,
    /// The entries are right, and a checkpoint cannot be read. It was damaged in copying and proves nothing
    /// either way.
    UnreadableCheckpoint,
    /// An entry, the head or a checkpoint is wrong.
    Broken,
}

impl Outcome {
    /// All results.
    pub(crate) const ALL: [Self; 7] = [
        Self::Valid,
        Self::UnsignedTail,
        Self::Unsigned,
        Self::NeverSigned,
        Self::SignedByRevokedKey,
        Self::UnreadableCheckpoint,
        Self::Broken,
    ];

    /// Returns whether the chain is right and nothing is left to verify.
    pub(crate) fn is_ok(self) -> bool {
        matches!(self, Self::Valid | Self::NeverSigned)
    }
}

impl Verified {
    /// Returns the worst finding. If nothing is wrong, the best signature counts.
    pub(crate) fn outcome(&self) -> Outcome {
        let found: Vec<Outcome> = self.checkpoints.iter().map(JudgedCheckpoint::outcome).collect();
        let any = |outcome| found.contains(&outcome);
        if !self.report.ok || any(Outcome::Broken) {
            Outcome::Broken
        } else if any(Outcome::UnreadableCheckpoint) {
            Outcome::UnreadableCheckpoint
        } else if any(Outcome::Valid) && self.signed_size() < self.report.head.size {
            Outcome::UnsignedTail
        } else if any(Outcome::Valid) {
            Outcome::Valid
        } else if any(Outcome::SignedByRevokedKey) {
            Outcome::SignedByRevokedKey
        } else if self.never_signed && self.checkpoints.is_empty() {
            Outcome::NeverSigned
        } else {
            Outcome::Unsigned
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit_chain::{Hash, Head};
    use time::OffsetDateTime;

    fn valid(size: u64) -> JudgedCheckpoint {
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().unwrap();
        JudgedCheckpoint {
            number: Some(1),
            size: Some(size),
            trust: NoteTrust::Valid { key },
            contradicted: None,
            unreadable: None,
        }
    }

    fn by_revoked_key(size: u64) -> JudgedCheckpoint {
        let NoteTrust::Valid { key } = valid(size).trust else { unreachable!() };
        let (revoked_at, compromised_since) = (OffsetDateTime::UNIX_EPOCH, OffsetDateTime::UNIX_EPOCH);
        let trust = NoteTrust::SignedByRevokedKey { key, revoked_at, compromised_since };
        JudgedCheckpoint { trust, ..valid(size) }
    }

    fn by_unknown_key(size: u64) -> JudgedCheckpoint {
        JudgedCheckpoint { trust: NoteTrust::UnknownKey, ..valid(size) }
    }

    fn wrong(size: u64) -> JudgedCheckpoint {
        let NoteTrust::Valid { key } = valid(size).trust else { unreachable!() };
        JudgedCheckpoint { trust: NoteTrust::Broken { key, why: "test" }, ..valid(size) }
    }

    fn damaged() -> JudgedCheckpoint {
        JudgedCheckpoint::unreadable(None, CheckpointTextError::CarriageReturns)
    }

    #[test]
    fn only_a_valid_chain_and_one_that_was_never_signed_are_ok() {
        for (outcome, ok) in [
            (Outcome::Valid, true),
            (Outcome::NeverSigned, true),
            (Outcome::UnsignedTail, false),
            (Outcome::Unsigned, false),
            (Outcome::SignedByRevokedKey, false),
            (Outcome::UnreadableCheckpoint, false),
            (Outcome::Broken, false),
        ] {
            assert_eq!(outcome.is_ok(), ok, "{outcome:?}");
        }
    }

    fn contradicted(judged: JudgedCheckpoint) -> JudgedCheckpoint {
        JudgedCheckpoint { contradicted: Some("test"), ..judged }
    }

    /// The result for a chain of ten entries.
    fn verified(checkpoints: Vec<JudgedCheckpoint>) -> Verified {
        let head = Head { size: 10, hash: Hash::from_bytes([0; 32]) };
        let report = VerifyReport { ok: true, checked: 10, head, first_error: None };
        Verified { report, checkpoints, never_signed: false }
    }

    #[test]
    fn only_checkpoints_of_this_chain_by_a_trusted_key_count_as_signed() {
        for (judged, trusted) in [
            (valid(7), true),
            (contradicted(valid(7)), false),
            (by_revoked_key(7), false),
            (by_unknown_key(7), false),
            (wrong(7), false),
        ] {
            assert_eq!(judged.is_trusted(), trusted, "{judged:?}");
            let size = verified(vec![judged, valid(3)]).signed_size();
            assert_eq!(size, if trusted { 7 } else { 3 });
        }
        assert_eq!(verified(vec![by_unknown_key(7)]).signed_size(), 0);
    }

    #[test]
    fn the_worst_finding_and_the_best_signature_count() {
        for (checkpoints, outcome) in [
            (vec![valid(10)], Outcome::Valid),
            (vec![valid(4), by_revoked_key(10), by_unknown_key(2), valid(10)], Outcome::Valid),
            (vec![valid(9)], Outcome::UnsignedTail),
            (vec![valid(9), by_revoked_key(10)], Outcome::UnsignedTail),
            (vec![by_revoked_key(10), by_unknown_key(10)], Outcome::SignedByRevokedKey),
            (vec![by_unknown_key(10)], Outcome::Unsigned),
            (vec![], Outcome::Unsigned),
            (vec![valid(10), damaged()], Outcome::UnreadableCheckpoint),
            (vec![by_revoked_key(10), damaged()], Outcome::UnreadableCheckpoint),
            (vec![damaged()], Outcome::UnreadableCheckpoint),
            (vec![damaged(), wrong(2)], Outcome::Broken),
            (vec![valid(10), wrong(2)], Outcome::Broken),
            (vec![valid(10), contradicted(by_revoked_key(2))], Outcome::Broken),
            (vec![valid(10), contradicted(by_unknown_key(2))], Outcome::Broken),
        ] {
            let mut all = verified(checkpoints);
            assert_eq!(all.outcome(), outcome, "{all:?}");
            all.report.ok = false;
            assert_eq!(all.outcome(), Outcome::Broken, "{all:?}");
        }
    }

    #[test]
    fn a_chain_with_a_checkpoint_is_not_never_signed() {
        let of = |checkpoints| Verified { never_signed: true, ..verified(checkpoints) }.outcome();
        assert_eq!(of(vec![]), Outcome::NeverSigned);
        assert_eq!(of(vec![by_unknown_key(10)]), Outcome::Unsigned);
    }
}
