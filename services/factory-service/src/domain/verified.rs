//! What a verification of the audit chain comes to.

use audit_chain::{CheckpointTextError, VerifyReport};
use keyring::NoteTrust;
use serde::Serialize;

/// What a stored checkpoint is worth.
#[derive(Debug)]
pub(crate) struct JudgedCheckpoint {
    /// The key it is stored under; none where the caller brought it.
    pub(crate) number: Option<u16>,
    /// Entries it speaks of, where it can be read.
    pub(crate) size: Option<u64>,
    pub(crate) standing: NoteTrust,
    /// Why it does not speak of this chain, whoever signed it.
    pub(crate) contradicted: Option<&'static str>,
    /// Why it cannot be read: it then speaks neither for nor against the chain.
    pub(crate) unreadable: Option<CheckpointTextError>,
}

impl JudgedCheckpoint {
    pub(crate) fn unreadable(number: Option<u16>, why: CheckpointTextError) -> Self {
        let (standing, contradicted) = (NoteTrust::UnknownKey, None);
        Self { number, size: None, standing, contradicted, unreadable: Some(why) }
    }

    /// Whether it speaks of this chain, and a key that is not revoked signed it.
    pub(crate) fn is_trusted(&self) -> bool {
        self.outcome() == Outcome::Valid
    }

    /// What it alone says of the chain.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.standing {
            _ if self.unreadable.is_some() => Outcome::UnreadableCheckpoint,
            _ if self.contradicted.is_some() => Outcome::Broken,
            NoteTrust::Broken { .. } => Outcome::Broken,
            NoteTrust::Valid { .. } => Outcome::Valid,
            NoteTrust::SignedByRevokedKey { .. } => Outcome::SignedByRevokedKey,
            NoteTrust::UnknownKey => Outcome::Unsigned,
        }
    }
}

/// What verifying found.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) report: VerifyReport,
    /// The latest checkpoint of each key, where the whole chain was asked for.
    pub(crate) checkpoints: Vec<JudgedCheckpoint>,
    /// Whether the whole chain was asked for, and nothing can have been signed: no signing key was ever active.
    pub(crate) never_signed: bool,
}

impl Verified {
    /// Entries that a trusted key has signed.
    pub(crate) fn signed_size(&self) -> u64 {
        signed_size(&self.checkpoints)
    }
}

/// Entries that a trusted key has signed.
pub(crate) fn signed_size(checkpoints: &[JudgedCheckpoint]) -> u64 {
    let trusted = checkpoints.iter().filter(|judged| judged.is_trusted());
    trusted.filter_map(|judged| judged.size).max().unwrap_or(0)
}

/// What a verification comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The chain is as it was written, and a key that is not revoked says where it stood.
    Valid,
    /// The chain is as it was written as far as it was signed; what follows nobody has signed, and whoever controls Redis could have
    /// written it anew.
    UnsignedTail,
    /// The chain is as it was written; no checkpoint was looked at, or there is none although a key was active.
    Unsigned,
    /// The chain is as it was written, and no signing key was ever active: there is nothing else to check.
    NeverSigned,
    /// The chain is as it was written, and only a revoked key says where it stood: neither yes nor no.
    SignedByRevokedKey,
    /// The chain is as it was written, and a checkpoint cannot be read: damaged in copying, so that it speaks neither for nor against it.
    UnreadableCheckpoint,
    /// The chain, or what was signed of it, is not right.
    Broken,
}

impl Outcome {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Valid,
        Self::UnsignedTail,
        Self::Unsigned,
        Self::NeverSigned,
        Self::SignedByRevokedKey,
        Self::UnreadableCheckpoint,
        Self::Broken,
    ];

    /// Whether there is nothing left to find out, and all is well.
    pub(crate) fn is_ok(self) -> bool {
        matches!(self, Self::Valid | Self::NeverSigned)
    }
}

impl Verified {
    /// Of all that was found the worst, and of signatures the best.
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
            standing: NoteTrust::Valid { key },
            contradicted: None,
            unreadable: None,
        }
    }

    fn by_revoked(size: u64) -> JudgedCheckpoint {
        let NoteTrust::Valid { key } = valid(size).standing else { unreachable!() };
        let (revoked_at, compromised_since) = (OffsetDateTime::UNIX_EPOCH, OffsetDateTime::UNIX_EPOCH);
        let standing = NoteTrust::SignedByRevokedKey { key, revoked_at, compromised_since };
        JudgedCheckpoint { standing, ..valid(size) }
    }

    fn of_nobody(size: u64) -> JudgedCheckpoint {
        JudgedCheckpoint { standing: NoteTrust::UnknownKey, ..valid(size) }
    }

    fn wrong(size: u64) -> JudgedCheckpoint {
        let NoteTrust::Valid { key } = valid(size).standing else { unreachable!() };
        JudgedCheckpoint { standing: NoteTrust::Broken { key, why: "test" }, ..valid(size) }
    }

    fn damaged() -> JudgedCheckpoint {
        JudgedCheckpoint::unreadable(None, CheckpointTextError::CarriageReturns)
    }

    #[test]
    fn ok_is_said_of_what_is_valid_and_of_what_nobody_could_sign() {
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

    /// Of a chain of ten entries.
    fn verified(checkpoints: Vec<JudgedCheckpoint>) -> Verified {
        let head = Head { size: 10, hash: Hash::from_bytes([0; 32]) };
        let report = VerifyReport { ok: true, checked: 10, head, first_error: None };
        Verified { report, checkpoints, never_signed: false }
    }

    #[test]
    fn only_what_is_of_this_chain_and_by_a_key_that_is_not_revoked_counts_as_signed() {
        for (judged, trusted) in [
            (valid(7), true),
            (contradicted(valid(7)), false),
            (by_revoked(7), false),
            (of_nobody(7), false),
            (wrong(7), false),
        ] {
            assert_eq!(judged.is_trusted(), trusted, "{judged:?}");
            let size = verified(vec![judged, valid(3)]).signed_size();
            assert_eq!(size, if trusted { 7 } else { 3 });
        }
        assert_eq!(verified(vec![of_nobody(7)]).signed_size(), 0);
    }

    #[test]
    fn the_worst_of_all_and_of_signatures_the_best() {
        for (checkpoints, outcome) in [
            (vec![valid(10)], Outcome::Valid),
            (vec![valid(4), by_revoked(10), of_nobody(2), valid(10)], Outcome::Valid),
            (vec![valid(9)], Outcome::UnsignedTail),
            (vec![valid(9), by_revoked(10)], Outcome::UnsignedTail),
            (vec![by_revoked(10), of_nobody(10)], Outcome::SignedByRevokedKey),
            (vec![of_nobody(10)], Outcome::Unsigned),
            (vec![], Outcome::Unsigned),
            (vec![valid(10), damaged()], Outcome::UnreadableCheckpoint),
            (vec![by_revoked(10), damaged()], Outcome::UnreadableCheckpoint),
            (vec![damaged()], Outcome::UnreadableCheckpoint),
            (vec![damaged(), wrong(2)], Outcome::Broken),
            (vec![valid(10), wrong(2)], Outcome::Broken),
            (vec![valid(10), contradicted(by_revoked(2))], Outcome::Broken),
            (vec![valid(10), contradicted(of_nobody(2))], Outcome::Broken),
        ] {
            let mut all = verified(checkpoints);
            assert_eq!(all.outcome(), outcome, "{all:?}");
            all.report.ok = false;
            assert_eq!(all.outcome(), Outcome::Broken, "{all:?}");
        }
    }

    #[test]
    fn never_signed_is_said_only_where_nothing_is_there() {
        let of = |checkpoints| Verified { never_signed: true, ..verified(checkpoints) }.outcome();
        assert_eq!(of(vec![]), Outcome::NeverSigned);
        assert_eq!(of(vec![of_nobody(10)]), Outcome::Unsigned);
    }
}
