//! The codes and layouts of the scan protocol. The Lua constants are generated from the values here.

use std::fmt::Write as _;

/// The outcome of one scan: the first byte of a script's reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ScanStatus {
    /// The tag was minted; the reply holds its counts.
    Answered = 0,
    /// The deployment record is missing or belongs to another deployment, or the audit chain is too short.
    StateLost = 1,
    /// The tag was never minted. This outcome wins over a rejected key.
    NotMinted = 2,
    /// The limiter denied the scan.
    Denied = 3,
    /// The presented key is malformed, unknown, revoked or expired, or its tenant is suspended.
    KeyInvalid = 4,
    /// The presented key lacks the scope `scan:partner`.
    KeyForbidden = 5,
    /// The tag was minted, but its state, its batch, its product or the key's tenant is lost or unreadable.
    RecordLost = 6,
}

impl ScanStatus {
    /// Every status, at the index that is its byte.
    const ALL: [Self; 7] = [
        Self::Answered,
        Self::StateLost,
        Self::NotMinted,
        Self::Denied,
        Self::KeyInvalid,
        Self::KeyForbidden,
        Self::RecordLost,
    ];

    /// Returns the status that a reply's first byte stands for.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    fn lua_name(self) -> &'static str {
        match self {
            Self::Answered => "SCAN_ANSWERED",
            Self::StateLost => "SCAN_STATE_LOST",
            Self::NotMinted => "SCAN_NOT_MINTED",
            Self::Denied => "SCAN_DENIED",
            Self::KeyInvalid => "SCAN_KEY_INVALID",
            Self::KeyForbidden => "SCAN_KEY_FORBIDDEN",
            Self::RecordLost => "SCAN_RECORD_LOST",
        }
    }
}

/// Whose quota a limited scan spent: the second byte of its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CountedBy {
    /// The client's address.
    Address = 0,
    /// The presented key, which the script verified.
    Key = 1,
}

impl CountedBy {
    /// Returns the subject that a reply's second byte stands for.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Address, Self::Key].get(usize::from(byte)).copied()
    }
}

/// Bits in the last byte of an answered scan.
pub(crate) const REVOKED_BIT: u8 = 1;
/// Another caller has scanned the tag.
pub(crate) const SEEN_BY_OTHERS_BIT: u8 = 2;
/// The script counted this scan.
pub(crate) const COUNTED_BIT: u8 = 4;

/// The revision in a request if the process holds no copy of the record.
pub(crate) const NO_REVISION: i64 = -1;
/// The product revision in a request if the process does not know which product the batch belongs to.
pub(crate) const PRODUCT_UNKNOWN: i64 = -2;

/// The argument of a request without a key.
pub(crate) const NO_KEY: &str = "";
/// The argument of a request that presents something that cannot be a key.
pub(crate) const MALFORMED_KEY: &str = "-";

/// A request as Lua's `struct` library unpacks it; [`ScanInput::push_args`](super::input::ScanInput) packs
/// it. Epoch, index, batch revision, product revision, whether the scan counts, the caller's marks of today
/// and yesterday.
const REQUEST_LAYOUT: &str = ">I2I4i8i8Bc5c5";
/// What a request for the limited scan has before [`REQUEST_LAYOUT`]: the indexes of the batch record and of
/// the product record among the script's keys.
const RECORDS_LAYOUT: &str = ">BB";
/// A limited scan without counts as Lua packs it: the status, the subject that was charged, and the limiter's
/// decision as integers in the order of `limiter_decide`.
const DECISION_LAYOUT: &str = ">c1c1i8i8i8i8i8i8i8i8i8i8i8";
/// The counts of an answered scan as Lua packs them; [`CountedScan`](super::reply::CountedScan) unpacks them.
/// Now, count, first scan, scans in 30 s, scans in 60 s, bits.
const COUNTS_LAYOUT: &str = ">I6I4I6BBB";

/// Returns the codes and layouts as Lua locals. They come before every Lua file that uses them.
pub(crate) fn lua_constants() -> String {
    let mut lua = String::with_capacity(1024);
    let mut local = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = writeln!(lua, "local {name} = {value}");
    };
    for status in ScanStatus::ALL {
        local(status.lua_name(), &format_args!("'\\{}'", status as u8));
    }
    local("SCAN_BY_ADDRESS", &format_args!("'\\{}'", CountedBy::Address as u8));
    local("SCAN_BY_KEY", &format_args!("'\\{}'", CountedBy::Key as u8));
    local("SCAN_REVOKED_BIT", &REVOKED_BIT);
    local("SCAN_SEEN_BY_OTHERS_BIT", &SEEN_BY_OTHERS_BIT);
    local("SCAN_COUNTED_BIT", &COUNTED_BIT);
    local("SCAN_PRODUCT_UNKNOWN", &PRODUCT_UNKNOWN);
    local("SCAN_NO_REVISION", &NO_REVISION);
    local("SCAN_NO_KEY", &format_args!("'{NO_KEY}'"));
    local("SCAN_MALFORMED_KEY", &format_args!("'{MALFORMED_KEY}'"));
    local("SCAN_REQUEST_LAYOUT", &format_args!("'{REQUEST_LAYOUT}'"));
    let limited = format_args!("'{RECORDS_LAYOUT}{}'", REQUEST_LAYOUT.trim_start_matches('>'));
    local("SCAN_LIMITED_REQUEST_LAYOUT", &limited);
    local("SCAN_DECISION_LAYOUT", &format_args!("'{DECISION_LAYOUT}'"));
    // One call of `struct.pack` replaces two calls and a concatenation, whose strings cost as much as the
    // packing.
    let with_counts = format_args!("'{DECISION_LAYOUT}{}'", COUNTS_LAYOUT.trim_start_matches('>'));
    local("SCAN_DECISION_AND_COUNTS_LAYOUT", &with_counts);
    local("SCAN_COUNTS_LAYOUT", &format_args!("'{COUNTS_LAYOUT}'"));
    lua
}
