//! Verifier keys in the text form of the signed-note format (C2SP `signed-note`).
//!
//! The form is `<name>+<hash>+<base64(0x01 ‖ key)>`. `hash` is the first four bytes of
//! SHA-256(name ‖ "\n" ‖ 0x01 ‖ key) in hex; 0x01 stands for Ed25519.

use std::fmt;
use std::str::FromStr;

use audit_chain::checkpoint::{SignatureLine, is_key_name};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The signature type of Ed25519 in the signed-note format.
pub(crate) const ED25519: u8 = 0x01;

/// The public key of a signing key, with the name that it signs under.
///
/// ```
/// use keyring::VerifierKey;
///
/// let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
/// let key: VerifierKey = text.parse()?;
/// assert_eq!((key.name(), key.to_string().as_str()), ("PeterNeumann", text));
/// # Ok::<(), keyring::VkeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: VerifyingKey,
}

/// A text that is not a verifier key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VkeyError {
    /// The text does not have three parts separated by `+`, or the name has white space.
    #[error("a verifier key is <name>+<8 hex digits>+<base64>")]
    Form,
    /// The hash is not that of the name and the key.
    #[error("the verifier key's hash does not match its name and key")]
    Hash,
    /// The key is not Ed25519, or not a point of the curve.
    #[error("the verifier key is not an Ed25519 key")]
    Key,
}

impl VerifierKey {
    /// Returns `None` if the name is not valid in a note: it is empty, or contains white space or `+`.
    #[must_use]
    pub(crate) fn new(name: &str, key: VerifyingKey) -> Option<Self> {
        is_key_name(name).then(|| Self { name: name.to_owned(), key })
    }

    /// Returns the name that the key signs under: the audit origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the four bytes that identify the key in a signature line.
    #[must_use]
    pub fn key_hash(&self) -> [u8; 4] {
        let hash = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', ED25519])
            .chain_update(self.key.as_bytes())
            .finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }

    /// Whether `line` has the name and hash of this key. Does not verify the signature.
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
        // Base64 may contain '+', so only the first two '+' separate parts.
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
    fn a_published_verifier_key_parses_and_prints_the_same() {
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
            "{text}\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZ\
             SNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        );
        let note = audit_chain::checkpoint::SignedNote::parse(signed.as_bytes()).unwrap();
        assert_eq!(note.text(), text);
        assert!(key.verifies(note.text(), &note.signatures()[0]));
        assert!(!key.verifies("another text\n", &note.signatures()[0]));
    }

    #[test]
    fn any_other_text_is_not_a_verifier_key() {
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
