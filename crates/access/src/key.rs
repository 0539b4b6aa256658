//! The text of an API key, and the digest that is stored.
//!
//! `vk_` ‖ id (8 characters) ‖ `_` ‖ tail (58 characters). The id is public; the tail is 32 random bytes and
//! a checksum of 4, both in lower-case Crockford base32. The checksum rejects mistyped and truncated keys
//! without a lookup, and gives scanners for leaked secrets few false alarms. It is no proof of authenticity.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const PREFIX: &str = "vk_";
const ID_CHARS: usize = 8;
const ID_BYTES: usize = 5;
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
const TAIL_BYTES: usize = SECRET_BYTES + CHECKSUM_BYTES;
const TAIL_CHARS: usize = 58;
/// Where the tail begins.
const TAIL_AT: usize = PREFIX.len() + ID_CHARS + 1;
const KEY_CHARS: usize = TAIL_AT + TAIL_CHARS;
const CHECKSUM_CONTEXT: &[u8] = b"voketag/api-key/v1";

/// Crockford's base32 (crockford.com/base32.html) in lower case, read strictly: a key has one spelling only.
static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut alphabet = Specification::new();
    alphabet.symbols.push_str("0123456789abcdefghjkmnpqrstvwxyz");
    alphabet.encoding().expect("32 different ASCII characters")
});

/// The text is not an API key. The error does not quote the text, because it may be a mistyped key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an API key: it takes vk_, 8 characters, _ and 58 characters, exactly as issued")]
pub struct NotAKey;

/// The text is not the id of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key id: it takes 8 of the characters 0-9 a-h j k m n p-t v-z")]
pub struct NotAKeyId;

/// The public part of a key: 8 characters, 40 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID_CHARS]);

impl KeyId {
    /// Regular expression that exactly the valid ids match.
    pub const PATTERN: &str = "^[0-9a-hjkmnp-tv-z]{8}$";

    fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        let mut text = [0; ID_CHARS];
        BASE32.encode_mut(&bytes, &mut text);
        Self(text)
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id holds ASCII only")
    }
}

impl FromStr for KeyId {
    type Err = NotAKeyId;

    fn from_str(text: &str) -> Result<Self, NotAKeyId> {
        let chars: [u8; ID_CHARS] = text.as_bytes().try_into().map_err(|_| NotAKeyId)?;
        let mut bytes = [0; ID_BYTES];
        BASE32.decode_mut(&chars, &mut bytes).map_err(|_| NotAKeyId)?;
        Ok(Self(chars))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// SHA-256 of a key's whole text, the only part that is stored. A key has 256 random bits, so the digest
/// reveals nothing and needs no salt. Digests are compared in constant time.
#[derive(Clone, Copy)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// Takes the stored form.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes, which are the stored form.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyDigest {}

impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}

/// The text that a client presents. It is wiped from memory when dropped; `Debug` shows the id only.
///
/// ```
/// use access::ApiKey;
///
/// let key = ApiKey::generate();
/// let presented: ApiKey = key.reveal().parse()?;
/// assert_eq!((presented.id(), presented.digest()), (key.id(), key.digest()));
///
/// let truncated = &key.reveal()[..69];
/// assert!(truncated.parse::<ApiKey>().is_err());
/// # Ok::<(), access::NotAKey>(())
/// ```
#[derive(Clone)]
pub struct ApiKey {
    id: KeyId,
    digest: KeyDigest,
    text: Zeroizing<String>,
}

impl ApiKey {
    /// Creates a key from 40 random bits for the id and 256 for the secret.
    #[must_use]
    pub fn generate() -> Self {
        let secret = Zeroizing::new(ambient::entropy::random_bytes::<SECRET_BYTES>());
        Self::from_parts(ambient::entropy::random_bytes(), &secret)
    }

    fn from_parts(id: [u8; ID_BYTES], secret: &[u8; SECRET_BYTES]) -> Self {
        let id = KeyId::from_bytes(id);
        let mut tail = Zeroizing::new([0; TAIL_BYTES]);
        tail[..SECRET_BYTES].copy_from_slice(secret);
        tail[SECRET_BYTES..].copy_from_slice(&checksum(&id, secret));
        let mut text = Zeroizing::new(String::with_capacity(KEY_CHARS));
        text.push_str(PREFIX);
        text.push_str(id.as_str());
        text.push('_');
        BASE32.encode_append(&*tail, &mut text);
        Self { id, digest: KeyDigest(Sha256::digest(text.as_bytes()).into()), text }
    }

    /// Parses a key and verifies its checksum, without a lookup.
    ///
    /// # Errors
    /// [`NotAKey`] if the form or the checksum is wrong.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        if text.len() != KEY_CHARS || !text.is_ascii() || text.as_bytes()[TAIL_AT - 1] != b'_' {
            return Err(NotAKey);
        }
        let id: KeyId = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.get(..ID_CHARS))
            .and_then(|id| id.parse().ok())
            .ok_or(NotAKey)?;
        let mut tail = Zeroizing::new([0; TAIL_BYTES]);
        BASE32.decode_mut(&text.as_bytes()[TAIL_AT..], &mut *tail).map_err(|_| NotAKey)?;
        let (secret, stated) = tail.split_first_chunk::<SECRET_BYTES>().ok_or(NotAKey)?;
        if !bool::from(stated.ct_eq(&checksum(&id, secret))) {
            return Err(NotAKey);
        }
        let digest = KeyDigest(Sha256::digest(text.as_bytes()).into());
        Ok(Self { id, digest, text: Zeroizing::new(text.to_owned()) })
    }

    /// Returns the public id.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Returns the digest, which is the only part that may be stored.
    #[must_use]
    pub fn digest(&self) -> &KeyDigest {
        &self.digest
    }

    /// Returns the whole text. Show it to the holder once, and never log it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

impl FromStr for ApiKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        Self::parse(text)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

fn checksum(id: &KeyId, secret: &[u8; SECRET_BYTES]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new()
        .chain_update(CHECKSUM_CONTEXT)
        .chain_update(id.as_str())
        .chain_update(secret)
        .finalize();
    *digest.first_chunk().expect("a digest has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_pattern_matches_exactly_the_accepted_ids(text in "[0-9a-zA-Zé\n]{7,9}|[0-9a-hjkmnp-tv-z]{8}") {
            let pattern = regex::Regex::new(KeyId::PATTERN).unwrap();
            prop_assert_eq!(text.parse::<KeyId>().is_ok(), pattern.is_match(&text));
        }
    }

    /// Computed by an independent program: id 01 02 03 04 05, secret 00 01 … 1f.
    const GOLDEN: &str = "vk_04106105_000g40r40m30e209185gr38e1w8124gk2gahc5rr34d1p70x3rfxvz04g0";
    const GOLDEN_DIGEST: &str = "5c83dd8a18b59964d8f406e4df17d5c97b3a9ddae5d138f8a0ac0871b220fc08";

    fn secret() -> [u8; SECRET_BYTES] {
        std::array::from_fn(|at| u8::try_from(at).unwrap())
    }

    #[test]
    fn a_keys_text_never_changes() {
        let key = ApiKey::from_parts([1, 2, 3, 4, 5], &secret());
        assert_eq!(key.reveal(), GOLDEN);
        assert_eq!((GOLDEN.len(), key.id().as_str()), (70, &GOLDEN[3..11]));
        let digest: String = key.digest().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, GOLDEN_DIGEST);
    }

    #[test]
    fn a_revealed_key_is_parsed_to_the_same_key() {
        let key = ApiKey::generate();
        let read = ApiKey::parse(key.reveal()).unwrap();
        assert_eq!((read.id(), read.digest(), read.reveal()), (key.id(), key.digest(), key.reveal()));
        assert_ne!(ApiKey::generate().digest(), key.digest());
    }

    #[test]
    fn a_mistyped_or_truncated_key_is_rejected_without_a_lookup() {
        let alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
        for at in 0..GOLDEN.len() {
            for other in alphabet.chars().chain("ilouA_-é\0".chars()) {
                let mut text = String::from(GOLDEN);
                text.replace_range(at..=at, other.encode_utf8(&mut [0; 4]));
                assert_eq!(ApiKey::parse(&text).is_ok(), text == GOLDEN, "{at}: {other}");
            }
            assert!(ApiKey::parse(&GOLDEN[..at]).is_err());
        }
        assert!(ApiKey::parse(&GOLDEN.to_uppercase()).is_err());
        assert!(ApiKey::parse(&format!("{GOLDEN}0")).is_err());
    }

    #[test]
    fn debug_output_shows_the_id_only() {
        let key = ApiKey::generate();
        let shown = format!("{key:?} {:?}", key.digest());
        assert!(shown.contains(key.id().as_str()), "{shown}");
        assert!(!shown.contains(&key.reveal()[TAIL_AT..]) && shown.contains("KeyDigest(..)"), "{shown}");
    }

    proptest! {
        #[test]
        fn other_texts_are_rejected(text in ".{0,80}|vk_[0-9a-z]{8}_[0-9a-z]{58}") {
            prop_assert!(ApiKey::parse(&text).is_err());
        }

        #[test]
        fn ids_survive_a_round_trip(bytes: [u8; ID_BYTES]) {
            let id = KeyId::from_bytes(bytes);
            prop_assert_eq!(id.as_str().parse(), Ok(id));
            prop_assert_eq!(id.as_str().len(), 8);
        }
    }
}
