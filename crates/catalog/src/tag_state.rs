//! What happened to one tag, as the scan script packs it (`lua/tag_scan.lua`).

use std::fmt;

/// The Lua functions `scan_judge`, `scan_records`, `tag_scan`, `batch_holds`, `batch_lost` and `is_deployment`.
pub const SCAN_LUA: &str = include_str!("lua/tag_scan.lua");

/// The first byte of a state whose tag is revoked. Written alone, it revokes a tag that nobody has scanned.
pub const REVOKED_FLAG: u8 = 1;

/// The lengths of a state that was ever scanned: without the mark of the caller, as it was written before, and with it.
const SCANNED: [usize; 2] = [23, 28];

/// A tag's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TagState {
    /// Whether the state says that this one tag is revoked. The record that says why decides, where the two differ.
    pub revoked: bool,
    /// Scans so far; stays at 2³²−1 once there.
    pub scan_count: u32,
    /// First and last scan, in Unix milliseconds; none while never scanned.
    pub scanned_at: Option<(u64, u64)>,
}

/// Stored bytes that are no tag state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoTagState(usize);

impl fmt::Display for NoTagState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a tag's state has 1, 23 or 28 bytes, not {}", self.0)
    }
}

impl std::error::Error for NoTagState {}

impl TagState {
    /// Reads the stored bytes; nothing stored is a tag never scanned.
    ///
    /// # Errors
    /// When the length is none that is ever written.
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
