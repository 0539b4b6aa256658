//! The secrets of audit signing keys: parsed from hex, wiped on drop, never printed.

use std::collections::BTreeMap;
use std::fmt;

use audit_chain::checkpoint::{Checkpoint, SignatureLine, SignedNote, is_key_name};
use ed25519_dalek::{Signer, SigningKey};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::number::KeyNumber;
use crate::vkey::VerifierKey;

/// The 32 secret bytes of an Ed25519 key (RFC 8032 §5.1.5).
pub struct SigningSeed([u8; 32]);

impl SigningSeed {
    /// Parses exactly 64 hexadecimal digits, of either case.
    ///
    /// # Errors
    /// [`SeedError`], which does not contain the text.
    pub fn from_hex(text: &str) -> Result<Self, SeedError> {
        let mut seed = Self([0; 32]);
        hex::decode_to_slice(text, &mut seed.0).map_err(|_| SeedError)?;
        Ok(seed)
    }
}

impl From<[u8; 32]> for SigningSeed {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Drop for SigningSeed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for SigningSeed {}

impl fmt::Debug for SigningSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSeed(..)")
    }
}

/// A text that is not a seed. The error does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing seed is 64 hexadecimal digits")]
pub struct SeedError;

/// The signing keys that a process holds, and the origin they sign for.
///
/// ```
/// use keyring::{KeyNumber, SigningKeys, SigningSeed};
///
/// let seed = SigningSeed::from_hex(&"07".repeat(32))?;
/// let keys = SigningKeys::new("voketag.local/audit", [(KeyNumber::FIRST, seed)])?;
/// let vkey = keys.vkey(KeyNumber::FIRST).expect("it holds key 1");
/// assert!(vkey.to_string().starts_with("voketag.local/audit+"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SigningKeys {
    origin: String,
    keys: BTreeMap<KeyNumber, (SigningKey, VerifierKey)>,
}

/// An origin that cannot be the name of a signing key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be the name of a signing key: a name is not empty and has no white space and no '+'")]
pub struct NotAName(pub String);

impl SigningKeys {
    /// Creates signing keys for `origin`, the name of the audit chain.
    ///
    /// # Errors
    /// [`NotAName`] if there are seeds and the origin cannot be the name in a signature line.
    pub fn new(
        origin: &str,
        seeds: impl IntoIterator<Item = (KeyNumber, SigningSeed)>,
    ) -> Result<Self, NotAName> {
        let mut keys = BTreeMap::new();
        for (number, seed) in seeds {
            let key = SigningKey::from_bytes(&seed.0);
            let vkey =
                VerifierKey::new(origin, key.verifying_key()).ok_or_else(|| NotAName(origin.to_owned()))?;
            keys.insert(number, (key, vkey));
        }
        Ok(Self { origin: origin.to_owned(), keys })
    }

    /// Returns an empty set of keys.
    #[must_use]
    pub fn none(origin: &str) -> Self {
        Self { origin: origin.to_owned(), keys: BTreeMap::new() }
    }

    /// Whether an origin can be the name of a signing key.
    #[must_use]
    pub fn can_sign_as(origin: &str) -> bool {
        is_key_name(origin)
    }

    /// Returns the origin that the keys sign for.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the numbers of the keys, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = KeyNumber> {
        self.keys.keys().copied()
    }

    /// Returns the verifier key of signing key `number`, if this process holds it.
    #[must_use]
    pub fn vkey(&self, number: KeyNumber) -> Option<&VerifierKey> {
        self.keys.get(&number).map(|(_, vkey)| vkey)
    }

    /// Signs a checkpoint with key `number`, if this process holds it. Does not check that the key may sign;
    /// see [`crate::CheckpointSigner`].
    #[must_use]
    pub(crate) fn sign(&self, number: KeyNumber, checkpoint: &Checkpoint) -> Option<SignedNote> {
        let (key, vkey) = self.keys.get(&number)?;
        let text = checkpoint.to_text();
        let signature = key.sign(text.as_bytes()).to_bytes();
        let line = SignatureLine::new(vkey.name(), vkey.key_hash(), signature.to_vec())?;
        SignedNote::new(text, vec![line]).ok()
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<u16> = self.numbers().map(KeyNumber::get).collect();
        f.debug_struct("SigningKeys")
            .field("origin", &self.origin)
            .field("numbers", &numbers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit_chain::Hash;

    const HEX: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

    #[test]
    fn a_seed_is_64_hex_digits_and_is_never_printed() {
        let seed = SigningSeed::from_hex(HEX).unwrap();
        assert_eq!(format!("{seed:?}"), "SigningSeed(..)");
        for wrong in ["", &HEX[1..], &format!("{HEX}00"), &HEX.replace('9', "g")] {
            let error = SigningSeed::from_hex(wrong).unwrap_err();
            assert!(wrong.is_empty() || !error.to_string().contains(wrong));
        }
        let keys = SigningKeys::new("voketag.local/audit", [(KeyNumber::FIRST, seed)]).unwrap();
        let shown = format!("{keys:?}");
        assert!(shown.contains("numbers: [1]") && !shown.contains("9d61"), "{shown}");
    }

    /// RFC 8032 §7.1, test 1: this seed has this public key.
    #[test]
    fn the_public_key_is_that_of_the_published_vector() {
        let seed = SigningSeed::from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
            .unwrap();
        let keys = SigningKeys::new("o", [(KeyNumber::FIRST, seed)]).unwrap();
        let shown = keys.vkey(KeyNumber::FIRST).unwrap().to_string();
        assert!(shown.starts_with("o+"), "{shown}");
        assert!(shown.ends_with("+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"), "{shown}");
    }

    #[test]
    fn a_signature_verifies_by_the_signing_keys_own_verifier_key_only() {
        let seeds =
            [1_u8, 2].map(|byte| (KeyNumber::new(u16::from(byte)).unwrap(), SigningSeed::from([byte; 32])));
        let keys = SigningKeys::new("voketag.local/audit", seeds).unwrap();
        let (first, second) = (KeyNumber::FIRST, KeyNumber::new(2).unwrap());
        let checkpoint =
            Checkpoint { origin: "voketag.local/audit".to_owned(), size: 7, root: Hash::from_bytes([7; 32]) };
        let note = keys.sign(first, &checkpoint).unwrap();
        assert_eq!(note.checkpoint().unwrap(), checkpoint);
        let line = &note.signatures()[0];
        assert!(keys.vkey(first).unwrap().verifies(note.text(), line));
        assert!(!keys.vkey(second).unwrap().verifies(note.text(), line));
        assert!(!keys.vkey(first).unwrap().verifies("other\n", line));
        assert!(keys.sign(KeyNumber::new(3).unwrap(), &checkpoint).is_none());
    }

    #[test]
    fn an_origin_that_cannot_be_a_key_name_has_no_keys() {
        for origin in ["", "a b", "a+b", "a\u{2003}b"] {
            assert!(
                SigningKeys::new(origin, [(KeyNumber::FIRST, SigningSeed::from([1; 32]))]).is_err(),
                "{origin:?}"
            );
            assert!(SigningKeys::new(origin, []).is_ok());
            assert!(!SigningKeys::can_sign_as(origin));
        }
    }

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../../docs/vectors.json")).unwrap()
    }

    fn text<'a>(vectors: &'a serde_json::Value, member: &str) -> &'a str {
        vectors["signed"][member].as_str().unwrap()
    }

    /// Another implementation made the published checkpoint; this one must produce the same bytes.
    #[test]
    fn a_signed_checkpoint_equals_the_published_vector() {
        let vectors = vectors();
        let origin = vectors["audit"]["origin"].as_str().unwrap();
        let seed = SigningSeed::from_hex(text(&vectors, "seed")).unwrap();
        let keys = SigningKeys::new(origin, [(KeyNumber::FIRST, seed)]).unwrap();
        let vkey = keys.vkey(KeyNumber::FIRST).unwrap();
        assert_eq!(vkey.to_string(), text(&vectors, "verifier_key"));
        assert_eq!(hex::encode(vkey.key_hash()), text(&vectors, "key_id"));
        let mut range = audit_chain::checkpoint::CompactRange::new();
        let mut roots = vec![range.root().to_string()];
        for entry in vectors["audit"]["entries"].as_array().unwrap() {
            let hash: [u8; 32] = hex::decode(entry["hash"].as_str().unwrap()).unwrap().try_into().unwrap();
            range.push(Hash::from_bytes(hash));
            roots.push(range.root().to_string());
        }
        let published = vectors["signed"]["roots"].as_array().unwrap();
        assert_eq!(roots, published.iter().map(|row| row["root"].as_str().unwrap()).collect::<Vec<_>>());
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: range.size(), root: range.root() };
        assert_eq!(
            keys.sign(KeyNumber::FIRST, &checkpoint).unwrap().to_string(),
            text(&vectors, "checkpoint")
        );
    }

    /// The published export verifies, and with each published checkpoint it yields what the vectors state.
    #[test]
    fn the_published_export_and_checkpoints_verify_as_the_vectors_state() {
        use crate::judge::{AuditKeys, NoteTrust};
        let vectors = vectors();
        let trusted = AuditKeys::trusted([text(&vectors, "verifier_key").parse().unwrap()]);
        let lines: Vec<&str> = vectors["signed"]["export"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line.as_str().unwrap())
            .collect();
        let verify = |lines: &[&str]| {
            let file = lines.join("\n") + "\n";
            audit_chain::export::verify_export(file.as_bytes(), |_, note| trusted.judge(note)).unwrap()
        };
        let report = verify(&lines);
        assert!(report.ok && report.shown < report.checked, "{report:?}");
        assert!(matches!(report.checkpoints[0].signature, Some(NoteTrust::Valid { .. })), "{report:?}");
        let cut = verify(&lines[..lines.len() - 1]);
        assert!(cut.is_cut && !cut.ok, "{cut:?}");
        let with = |note: &serde_json::Value| {
            let mut header: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
            header["checkpoints"] = serde_json::json!([note["note"]]);
            let header = header.to_string();
            verify(&[&[header.as_str()], &lines[1..]].concat()).checkpoints.remove(0)
        };
        for note in vectors["signed"]["unreadable_checkpoints"].as_array().unwrap() {
            let checked = with(note);
            assert!(checked.unreadable.is_some() && checked.contradicted.is_none(), "{note}: {checked:?}");
        }
        for note in vectors["signed"]["broken_checkpoints"].as_array().unwrap() {
            let checked = with(note);
            let is_broken = matches!(checked.signature, Some(NoteTrust::Broken { .. }));
            assert!(checked.unreadable.is_none(), "{note}: {checked:?}");
            assert!(is_broken || checked.contradicted.is_some(), "{note}: {checked:?}");
        }
    }
}
