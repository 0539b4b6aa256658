//! Verifier keys in the text form of the signed-note format (C2SP `signed-note`): `<name>+<hash>+<base64(0x01 ‖ key)>`, where
//! `hash` is the first four bytes of SHA-256(name ‖ "\n" ‖ 0x01 ‖ key) in hex, and 0x01 stands for Ed25519.

use std::fmt;
use std::str::FromStr;

use audit_chain::checkpoint::{SignatureLine, is_key_name};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The signature type of Ed25519 in that format.
pub(crate) const ED25519: u8 = 0x01;

/// The public half of a signing key, with the name it signs under.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: VerifyingKey,
}

/// A text that is no verifier key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VkeyError {
    /// Not three parts divided by `+`, or a name that holds white space.
    #[error("a verifier key is <name>+<8 hex digits>+<base64>")]
    Form,
    /// The four bytes are not those of this name and key.
    #[error("the verifier key's hash does not belong to its name and key")]
    Hash,
    /// Not Ed25519, or no point of the curve.
    #[error("the verifier key is no Ed25519 key")]
    Key,
}

impl VerifierKey {
    /// `None` when the name cannot stand in a note: empty, or with white space or `+` in it.
    #[must_use]
    pub(crate) fn new(name: &str, key: VerifyingKey) -> Option<Self> {
        is_key_name(name).then(|| Self { name: name.to_owned(), key })
    }

    /// The name it signs under: the audit origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The four bytes by which a signature line names the key.
    #[must_use]
    pub fn key_hash(&self) -> [u8; 4] {
        let hash = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', ED25519])
            .chain_update(self.key.as_bytes())
            .finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// Whether that line claims to be by this key.
    #[must_use]
    pub fn is_named_by(&self, line: &SignatureLine) -> bool {
        line.name() == self.name && line.key_hash() == self.key_hash()
    }

    /// Whether `line` is this key's signature of `text`.
    #[must_use]
    pub fn verifies(&self, text: &str, line: &SignatureLine) -> bool {
        let signature = Signature::from_slice(line.signature());
        self.is_named_by(line)
            && signature.is_ok_and(|signature| self.key.verify_strict(text.as_bytes(), &signature).is_ok())
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = [&[ED25519][..], self.key.as_bytes()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.key_hash()), STANDARD.encode(typed))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifierKey {
    type Err = VkeyError;

    fn from_str(text: &str) -> Result<Self, VkeyError> {
        // Base64 may hold '+' too, so the name and the hash are cut off from the left.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VkeyError::Form);
        };
        let mut claimed = [0; 4];
        hex::decode_to_slice(hash, &mut claimed).map_err(|_| VkeyError::Form)?;
        let typed = STANDARD.decode(encoded).map_err(|_| VkeyError::Form)?;
        let Some((&ED25519, bytes)) = typed.split_first() else { return Err(VkeyError::Key) };
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| VkeyError::Key)?;
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| VkeyError::Key)?;
        let vkey = Self::new(name, key).ok_or(VkeyError::Form)?;
        if vkey.key_hash() == claimed { Ok(vkey) } else { Err(VkeyError::Hash) }
    }
}

impl Serialize for VerifierKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VerifierKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the example in the Go package `golang.org/x/mod/sumdb/note`, which introduced the format.
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn a_published_verifier_key_is_read_and_written_the_same() {
        let key: VerifierKey = PETER.parse().unwrap();
        assert_eq!(key.name(), "PeterNeumann");
        assert_eq!(hex::encode(key.key_hash()), "c74f20a3");
        assert_eq!(key.to_string(), PETER);
        assert_eq!(serde_json::from_str::<VerifierKey>(&format!("\"{PETER}\"")).unwrap(), key);
    }

    #[test]
    fn a_published_note_verifies_and_a_changed_one_does_not() {
        let key: VerifierKey = PETER.parse().unwrap();
        let text = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n";
        let signed = format!(
            "{text}\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        );
        let note = audit_chain::checkpoint::SignedNote::parse(signed.as_bytes()).unwrap();
        assert_eq!(note.text(), text);
        assert!(key.verifies(note.text(), &note.signatures()[0]));
        assert!(!key.verifies("another text\n", &note.signatures()[0]));
    }

    #[test]
    fn anything_else_is_no_verifier_key() {
        for (wrong, why) in [
            ("", VkeyError::Form),
            ("PeterNeumann", VkeyError::Form),
            ("+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", VkeyError::Form),
            ("Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", VkeyError::Form),
            ("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", VkeyError::Hash),
            ("PeterNeuman+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", VkeyError::Hash),
            ("PeterNeumann+c74f20a3+Ahpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", VkeyError::Key),
            ("PeterNeumann+c74f20a3+ARpc", VkeyError::Key),
        ] {
            assert_eq!(wrong.parse::<VerifierKey>(), Err(why), "{wrong}");
        }
    }
}
