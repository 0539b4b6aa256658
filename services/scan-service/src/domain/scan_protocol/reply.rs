//! What the scan scripts reply (`lua/limited_scan.lua`, `lua/scan.lua`), taken apart.

use redis_pool::Error;

/// Statuses the scripts reply.
pub(crate) const ANSWERED: u8 = 0;
pub(crate) const STATE_LOST: u8 = 1;
pub(crate) const NOT_MINTED: u8 = 2;
pub(crate) const DENIED: u8 = 3;
pub(crate) const KEY_INVALID: u8 = 4;
pub(crate) const KEY_FORBIDDEN: u8 = 5;
pub(crate) const UNREADABLE: u8 = 6;
/// By what the script says a scan was counted.
pub(crate) const BY_ADDRESS: u8 = 0;
pub(crate) const BY_KEY: u8 = 1;

/// Bits in the last byte of an answered scan.
const REVOKED: u8 = 1;
const SEEN_BY_OTHERS: u8 = 2;
const IS_COUNTED: u8 = 4;

/// What the scripts say of a scan.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) now_ms: u64,
    pub(crate) count: u32,
    /// None while the tag was never scanned.
    pub(crate) first_at_ms: Option<u64>,
    pub(crate) in_30_s: u8,
    pub(crate) in_60_s: u8,
    pub(crate) revoked: bool,
    /// Whether another caller has scanned the tag.
    pub(crate) seen_by_others: bool,
    /// Whether this look is counted as a scan.
    pub(crate) counted: bool,
    pub(crate) batch: Vec<u8>,
    pub(crate) product: Vec<u8>,
}

/// What a script replied to one scan, taken apart but not read.
pub(crate) struct Reply {
    packed: Vec<u8>,
    batch: Vec<u8>,
    product: Vec<u8>,
    /// The audit head, where it is higher than the one this process has seen.
    pub(crate) head: Option<redis::Value>,
}

impl Reply {
    pub(crate) fn split(value: redis::Value) -> Result<Self, Error> {
        use redis::Value::{Array, BulkString};
        match value {
            BulkString(packed) => Ok(Self { packed, batch: Vec::new(), product: Vec::new(), head: None }),
            Array(mut values) => {
                let head = if values.len() == 4 { values.pop() } else { None };
                match <[redis::Value; 3]>::try_from(values) {
                    Ok([BulkString(packed), BulkString(batch), BulkString(product)]) => {
                        Ok(Self { packed, batch, product, head })
                    }
                    _ => Err(misshapen("three strings were expected")),
                }
            }
            _ => Err(misshapen("a string was expected")),
        }
    }

    pub(crate) fn status(&self) -> Option<u8> {
        self.packed.first().copied()
    }

    /// What follows the status.
    pub(crate) fn facts(&self) -> &[u8] {
        self.packed.get(1..).unwrap_or_default()
    }
}

impl Counted {
    /// Bytes of the packed scan: u48 now, u32 count, u48 first scan, three of one byte.
    const LEN: usize = 19;

    pub(crate) fn read(packed: &[u8], reply: &Reply) -> Result<Self, Error> {
        let packed: &[u8; Self::LEN] =
            packed.try_into().map_err(|_| misshapen("the scan's part has another length"))?;
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        Ok(Self {
            now_ms: number(&packed[..6]),
            count: u32::from_be_bytes([packed[6], packed[7], packed[8], packed[9]]),
            first_at_ms: Some(number(&packed[10..16])).filter(|at| *at > 0),
            in_30_s: packed[16],
            in_60_s: packed[17],
            revoked: packed[18] & REVOKED != 0,
            seen_by_others: packed[18] & SEEN_BY_OTHERS != 0,
            counted: packed[18] & IS_COUNTED != 0,
            batch: reply.batch.clone(),
            product: reply.product.clone(),
        })
    }
}

/// The error for a reply that does not follow the protocol.
pub(crate) fn misshapen(what: &str) -> Error {
    Error::Reply { what: format!("scan: {what}") }
}
