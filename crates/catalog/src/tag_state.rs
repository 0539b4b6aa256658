//! The stored state of one tag. The scan-service's script `tag_scan.lua` writes it and describes its layout.

/// The bit in a state's first byte that says the tag is revoked. A state of only this byte revokes a tag that
/// was never scanned.
pub const REVOKED_FLAG: u8 = 1;

/// Lengths of the state of a scanned tag, without and with the caller's mark. Earlier versions wrote no mark.
const SCANNED: [usize; 2] = [23, 28];

/// A tag's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TagState {
    /// Whether this tag is revoked. If a revocation record exists, the tag is revoked whatever this says.
    pub revoked: bool,
    /// Number of scans; saturates at 2³²−1.
    pub scan_count: u32,
    /// First and last scan, Unix milliseconds; `None` before the first scan.
    pub scanned_at: Option<(u64, u64)>,
}

/// Stored bytes whose length is not that of a tag state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tag's state has 1, 23 or 28 bytes, not {0}")]
pub struct NoTagState(usize);

impl TagState {
    /// Parses the stored bytes; `None` is the state of a tag that was never scanned.
    ///
    /// # Errors
    /// [`NoTagState`] if the length is not 1, 23 or 28 bytes.
    ///
    /// ```
    /// use catalog::{REVOKED_FLAG, TagState};
    ///
    /// let state = TagState::parse(Some(&[REVOKED_FLAG]))?;
    /// assert!(state.revoked && state.scanned_at.is_none());
    /// # Ok::<(), catalog::CatalogError>(())
    /// ```
    pub fn parse(stored: Option<&[u8]>) -> Result<Self, NoTagState> {
        match stored {
            None => Ok(Self::default()),
            Some([flags]) => Ok(Self { revoked: flags & REVOKED_FLAG != 0, ..Self::default() }),
            Some(bytes) if SCANNED.contains(&bytes.len()) => Ok(Self {
                revoked: bytes[0] & REVOKED_FLAG != 0,
                scan_count: u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]),
                scanned_at: Some((u48(&bytes[5..11]), u48(&bytes[11..17]))),
            }),
            Some(bytes) => Err(NoTagState(bytes.len())),
        }
    }
}

fn u48(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
