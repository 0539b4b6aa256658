//! The master secrets a service holds, and what it can do with them: mint ids, stream them, open them.
//!
//! EpochKeys of an epoch with a secret of its own are derived at the start; those of the default secret on
//! first use and then kept, which is bounded by the 4,095 epochs there are (under 2 MiB in all, if somebody
//! tries every epoch). A look-up afterwards is one atomic load.

use std::fmt;
use std::sync::OnceLock;

use subtle::ConstantTimeEq;

use crate::epoch_keys::{EpochKeys, Serial, join};
use crate::numbers::{BatchNo, Epoch, TagIndex};
use crate::secret::MasterSecret;
use crate::text::TagId;

/// The keys for minting and opening tag ids, by epoch. Share it behind an `Arc`.
///
/// ```
/// use tag_id::{BatchNo, Epoch, MasterSecret, TagId, TagIndex, TagKeys};
///
/// let keys = TagKeys::new(Some(MasterSecret::from([7; 32])), []);
/// let (batch, index) = (BatchNo::new(5).unwrap(), TagIndex::new(0).unwrap());
/// let id = keys.mint(Epoch::MIN, batch, index).unwrap();
///
/// let scanned = TagId::parse(&id.to_string()).unwrap();
/// let opened = keys.open(&scanned).unwrap();
/// assert_eq!((opened.batch, opened.index), (batch, index));
///
/// let mut forged = *id.as_bytes();
/// forged[15] ^= 1;
/// assert_eq!(keys.open(&TagId::from_bytes(forged)), None);
/// ```
pub struct TagKeys {
    default: Option<MasterSecret>,
    /// Entry `e - 1` holds the keys of epoch `e`.
    by_epoch: Box<[OnceLock<Box<EpochKeys>>]>,
}

impl TagKeys {
    /// Creates the keys. `default` serves every epoch without its own secret. If an epoch has two secrets,
    /// the first counts.
    #[must_use]
    pub fn new(
        default: Option<MasterSecret>,
        per_epoch: impl IntoIterator<Item = (Epoch, MasterSecret)>,
    ) -> Self {
        let tag_keys = Self { default, by_epoch: (0..Epoch::MAX.get()).map(|_| OnceLock::new()).collect() };
        for (epoch, secret) in per_epoch {
            tag_keys.cell(epoch).get_or_init(|| Box::new(EpochKeys::derive(&secret, epoch)));
        }
        tag_keys
    }

    /// Returns whether there is a secret for `epoch`.
    #[must_use]
    pub fn has(&self, epoch: Epoch) -> bool {
        self.default.is_some() || self.cell(epoch).get().is_some()
    }

    /// Returns the id of one tag. For many tags, use a [`minter`](Self::minter).
    ///
    /// # Errors
    ///
    /// [`MintError::NoSecret`] if there is no secret for `epoch`.
    pub fn mint(&self, epoch: Epoch, batch: BatchNo, index: TagIndex) -> Result<TagId, MintError> {
        let keys = self.keys(epoch).ok_or(MintError::NoSecret(epoch))?;
        Ok(mint(keys, batch, index))
    }

    /// Returns a minter for one epoch. It does not borrow from `self`, so a stream can own it.
    ///
    /// # Errors
    ///
    /// [`MintError::NoSecret`] if there is no secret for `epoch`.
    pub fn minter(&self, epoch: Epoch) -> Result<Minter, MintError> {
        self.keys(epoch).cloned().map(|keys| Minter { keys }).ok_or(MintError::NoSecret(epoch))
    }

    /// What the id says, if it is authentic; `None` if it is forged. The two steps of [`Self::authenticate`]
    /// and [`AuthenticId::open`] in one.
    #[must_use]
    pub fn open(&self, id: &TagId) -> Option<Opened> {
        Some(self.authenticate(id)?.open())
    }

    /// Checks that the id is authentic; `None` if it is forged, for whichever reason: version, variant, an
    /// epoch without a secret, or the MAC.
    ///
    /// All 16 bytes are compared in constant time with the id that those contents ought to have, before
    /// anything is made of them. This costs one HMAC, whether the id is authentic or forged.
    #[must_use]
    pub fn authenticate(&self, id: &TagId) -> Option<AuthenticId<'_>> {
        let [a, b, c, d, e, f, epoch_high, epoch_low, ..] = *id.as_bytes();
        let epoch = Epoch::new(u16::from_be_bytes([epoch_high & 0x0f, epoch_low]))?;
        let keys = self.keys(epoch)?;
        let custom_a = [a, b, c, d, e, f];
        if !bool::from(keys.authenticate(custom_a).ct_eq(id.as_bytes())) {
            return None;
        }
        Some(AuthenticId { keys, epoch, custom_a })
    }

    /// Returns a mark that recognises a caller of a tag within a day but does not identify the caller. `None`
    /// without a secret.
    ///
    /// The mark is the first 40 bits, with the first bit cleared, of `HMAC-SHA256(key, u64be(day) ‖ serial(6)
    /// ‖ caller)`, `key` being HKDF-SHA256 of the secret with info `"voketag/scan-caller/v1/" ‖
    /// decimal(epoch)`, 32 bytes. `day` counts from 1970.
    #[must_use]
    pub fn caller_mark(&self, tag: &Opened, day: u64, caller: &str) -> Option<[u8; 5]> {
        Some(self.keys(tag.epoch)?.caller_mark(tag.serial(), day, caller))
    }

    /// Returns a value that two services compare to check that they hold the same secret for an epoch. It
    /// does not reveal the secret: HKDF-SHA256 of the secret with info `"voketag/tag-check/v1/" ‖
    /// decimal(epoch)`, 16 bytes. `None` without a secret.
    #[must_use]
    pub fn check_value(&self, epoch: Epoch) -> Option<[u8; 16]> {
        self.keys(epoch).map(EpochKeys::check_value)
    }

    /// Returns whether both epochs have a secret here and it is the same one. A holder of the secret of one
    /// epoch can then mint tags of the other.
    #[must_use]
    pub fn share_secret(&self, one: Epoch, other: Epoch) -> bool {
        self.keys(one).zip(self.keys(other)).is_some_and(|(one, other)| one.shares_secret_with(other))
    }

    fn cell(&self, epoch: Epoch) -> &OnceLock<Box<EpochKeys>> {
        &self.by_epoch[usize::from(epoch.get()) - 1]
    }

    fn keys(&self, epoch: Epoch) -> Option<&EpochKeys> {
        let cell = self.cell(epoch);
        if let Some(keys) = cell.get() {
            return Some(keys);
        }
        let secret = self.default.as_ref()?;
        Some(cell.get_or_init(|| Box::new(EpochKeys::derive(secret, epoch))))
    }
}

impl fmt::Debug for TagKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKeys(..)")
    }
}

fn mint(keys: &EpochKeys, batch: BatchNo, index: TagIndex) -> TagId {
    TagId::from_bytes(keys.authenticate(keys.permute(batch, index)))
}

/// Mints the ids of one epoch.
#[derive(Clone)]
pub struct Minter {
    keys: EpochKeys,
}

impl Minter {
    /// Returns the id of one tag, as [`TagKeys::mint`] does.
    #[must_use]
    pub fn mint(&self, batch: BatchNo, index: TagIndex) -> TagId {
        mint(&self.keys, batch, index)
    }
}

impl fmt::Debug for Minter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Minter(..)")
    }
}

/// Why an id cannot be minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// There is no secret for that epoch.
    #[error("no master secret for key epoch {0}")]
    NoSecret(Epoch),
}

/// An id whose MAC is right. Its batch and index are still hidden.
#[derive(Clone, Copy)]
pub struct AuthenticId<'a> {
    keys: &'a EpochKeys,
    epoch: Epoch,
    custom_a: Serial,
}

impl AuthenticId<'_> {
    /// The key epoch under which it was minted.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Reveals batch and index. This costs four HMACs.
    #[must_use]
    pub fn open(self) -> Opened {
        let (batch, index) = self.keys.unpermute(self.custom_a);
        Opened { epoch: self.epoch, batch, index }
    }
}

impl fmt::Debug for AuthenticId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthenticId(..)")
    }
}

/// What an authentic id says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Opened {
    /// The key epoch under which it was minted.
    pub epoch: Epoch,
    /// The number of its batch.
    pub batch: BatchNo,
    /// Its index in the batch. An authentic id may never have been minted: compare the index with the batch
    /// size.
    pub index: TagIndex,
}

impl Opened {
    /// `batch_no(24) ‖ index(24)`, big-endian, not permuted. It identifies the tag within a deployment.
    #[must_use]
    pub fn serial(&self) -> Serial {
        join(self.batch.get(), self.index.get())
    }
}
