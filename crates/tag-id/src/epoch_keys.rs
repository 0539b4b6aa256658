//! The keys of one epoch: they permute serials and compute MACs.
//!
//! Each key is kept as an HMAC state that has already absorbed the padded key. So one MAC over a short
//! message costs two SHA-256 compressions instead of four.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::numbers::{BatchNo, Epoch, TagIndex};
use crate::secret::MasterSecret;

const MAC_DOMAIN: &[u8] = b"voketag/tag/v1";
const MAC_KEY_INFO: &str = "voketag/tag-mac/v1/";
const PERM_KEY_INFO: &str = "voketag/tag-perm/v1/";
const CHECK_INFO: &str = "voketag/tag-check/v1/";
const CALLER_KEY_INFO: &str = "voketag/scan-caller/v1/";
const SAME_INFO: &str = "voketag/tag-same/v1";

const ROUNDS: u8 = 4;
const UUID_VERSION: u8 = 8;
/// The variant of RFC 9562, `10`, in the topmost of the 64 bits it shares with the MAC.
const VARIANT: u64 = 0b10 << 62;

/// `batch_no ‖ index`, or the same permuted: two 24-bit halves, big-endian.
pub(crate) type Serial = [u8; 6];

#[derive(Clone)]
pub(crate) struct EpochKeys {
    epoch: Epoch,
    mac: Hmac<Sha256>,
    perm: Hmac<Sha256>,
    caller: Hmac<Sha256>,
    check: [u8; 16],
    /// Equal for all epochs of one master secret. Never leaves the process.
    secret: [u8; 16],
}

impl EpochKeys {
    pub(crate) fn derive(secret: &MasterSecret, epoch: Epoch) -> Self {
        Self {
            epoch,
            mac: keyed(&*expand::<32>(secret, MAC_KEY_INFO, epoch)),
            perm: keyed(&*expand::<32>(secret, PERM_KEY_INFO, epoch)),
            caller: keyed(&*expand::<32>(secret, CALLER_KEY_INFO, epoch)),
            check: *expand::<16>(secret, CHECK_INFO, epoch),
            secret: *expand_as::<16>(secret, SAME_INFO),
        }
    }

    pub(crate) fn shares_secret_with(&self, other: &Self) -> bool {
        self.secret.ct_eq(&other.secret).into()
    }

    pub(crate) fn check_value(&self) -> [u8; 16] {
        self.check
    }

    /// Returns the mark of a caller for one tag and one day: a zero bit and 39 bits of HMAC.
    pub(crate) fn caller_mark(&self, serial: Serial, day: u64, caller: &str) -> [u8; 5] {
        let mut mac = self.caller.clone();
        mac.update(&day.to_be_bytes());
        mac.update(&serial);
        mac.update(caller.as_bytes());
        let [a, b, c, d, e, ..] = mac.finalize().into_bytes().0;
        [a & 0x7f, b, c, d, e]
    }

    /// Returns the id of a permuted serial, with fixed bits and MAC. Costs one HMAC; the permutation costs
    /// four more.
    pub(crate) fn authenticate(&self, custom_a: Serial) -> [u8; 16] {
        let epoch = self.epoch.get().to_be_bytes();
        let mut mac = self.mac.clone();
        mac.update(MAC_DOMAIN);
        mac.update(&epoch);
        mac.update(&custom_a);
        let [a, b, c, d, e, f, g, h, ..] = mac.finalize().into_bytes().0;
        let tail = VARIANT | (u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 2);

        let mut id = [0; 16];
        id[..6].copy_from_slice(&custom_a);
        id[6] = (UUID_VERSION << 4) | epoch[0];
        id[7] = epoch[1];
        id[8..].copy_from_slice(&tail.to_be_bytes());
        id
    }

    /// Permutes a serial by a balanced Feistel network. It hides the number of batches and tags. It
    /// authenticates nothing.
    pub(crate) fn permute(&self, batch: BatchNo, index: TagIndex) -> Serial {
        let (mut left, mut right) = (batch.get(), index.get());
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.round(round, right));
        }
        join(left, right)
    }

    /// The inverse of [`permute`](Self::permute).
    pub(crate) fn unpermute(&self, hidden: Serial) -> (BatchNo, TagIndex) {
        let [a, b, c, d, e, f] = hidden;
        let (mut left, mut right) = (u32::from_be_bytes([0, a, b, c]), u32::from_be_bytes([0, d, e, f]));
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.round(round, left), left);
        }
        // Both halves are 24 bits at every step, so nothing wraps.
        let index = TagIndex::new(right).expect("a Feistel half has 24 bits");
        (BatchNo::wrapping(left), index)
    }

    fn round(&self, round: u8, half: u32) -> u32 {
        let [_, high, middle, low] = half.to_be_bytes();
        let mut mac = self.perm.clone();
        mac.update(&[round, high, middle, low]);
        let [a, b, c, ..] = mac.finalize().into_bytes().0;
        u32::from_be_bytes([0, a, b, c])
    }
}

/// Concatenates two 24-bit halves.
pub(crate) fn join(left: u32, right: u32) -> Serial {
    let ([_, a, b, c], [_, d, e, f]) = (left.to_be_bytes(), right.to_be_bytes());
    [a, b, c, d, e, f]
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn expand<const N: usize>(secret: &MasterSecret, info: &str, epoch: Epoch) -> Zeroizing<[u8; N]> {
    expand_as(secret, &format!("{info}{epoch}"))
}

fn expand_as<const N: usize>(secret: &MasterSecret, info: &str) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    Hkdf::<Sha256>::new(None, secret.bytes())
        .expand(info.as_bytes(), &mut *out)
        .expect("HKDF-SHA256 gives up to 8,160 bytes");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../../docs/vectors.json")).unwrap()
    }

    fn secret(vectors: &Value) -> MasterSecret {
        MasterSecret::from_hex(vectors["master_secret"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn derived_keys_match_the_vectors() {
        let vectors = vectors();
        let secret = secret(&vectors);
        for (member, info) in [("mac_key_epoch_1", MAC_KEY_INFO), ("perm_key_epoch_1", PERM_KEY_INFO)] {
            let key = expand::<32>(&secret, info, Epoch::MIN);
            assert_eq!(hex::encode(*key), vectors[member].as_str().unwrap(), "{member}");
        }
    }

    #[test]
    fn permuted_serials_match_the_vectors() {
        let vectors = vectors();
        let secret = secret(&vectors);
        for tag in vectors["tags"].as_array().unwrap() {
            let number = |member: &str| u32::try_from(tag[member].as_u64().unwrap()).unwrap();
            let epoch = Epoch::new(u16::try_from(number("epoch")).unwrap()).unwrap();
            let keys = EpochKeys::derive(&secret, epoch);
            let (batch, index) =
                (BatchNo::new(number("batch_no")).unwrap(), TagIndex::new(number("index")).unwrap());
            let hidden = keys.permute(batch, index);
            assert_eq!(hex::encode(hidden), tag["custom_a"].as_str().unwrap());
            assert_eq!(keys.unpermute(hidden), (batch, index));
        }
    }

    proptest! {
        #[test]
        fn permute_is_a_bijection(
            secret: [u8; 32],
            bytes: [u8; 6],
            batch in 0..1_u32 << 24,
            index in 0..1_u32 << 24,
        ) {
            let keys = EpochKeys::derive(&secret.into(), Epoch::MIN);
            let (batch, index) = (BatchNo::new(batch).unwrap(), TagIndex::new(index).unwrap());
            prop_assert_eq!(keys.unpermute(keys.permute(batch, index)), (batch, index));
            let (batch, index) = keys.unpermute(bytes);
            prop_assert_eq!(keys.permute(batch, index), bytes);
        }
    }
}
