//! What happened to one tag, as the scan script packs it (`lua/tag_scan.lua`).

use std::fmt;

/// The Lua functions `tag_scan`, `batch_holds`, `record_if_changed` and `is_deployment`.
pub const SCAN_LUA: &str = include_str!("lua/tag_scan.lua");

/// The first byte of a state whose tag is revoked. Written alone, it revokes a tag that nobody has scanned.
pub const REVOKED_FLAG: u8 = 1;

/// A tag's state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TagState {
    /// Whether this one tag is revoked.
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
        write!(f, "a tag's state has 0, 1 or 23 bytes, not {}", self.0)
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
            None | Some([]) => Ok(Self::default()),
            Some([flags]) => Ok(Self { revoked: flags & REVOKED_FLAG != 0, ..Self::default() }),
            Some(bytes) if bytes.len() == 23 => Ok(Self {
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
