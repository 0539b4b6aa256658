//! Unpacks what the scripts reply to one scan.

use rate_limiter::Decision;
use redis::Value;
use redis_pool::PoolError;

use crate::domain::scan_protocol::codes::{
    COUNTED_BIT, CountedBy, REVOKED_BIT, SEEN_BY_OTHERS_BIT, ScanStatus,
};

/// Integers of a decision about one subject.
const DECISION_INTS: usize = Decision::reply_len(1);

/// The counts of an answered scan, and the records that this process lacked.
#[derive(Debug)]
pub(crate) struct CountedScan {
    /// When the script ran, Unix milliseconds by Redis's clock.
    pub(crate) now_ms: u64,
    /// Scans so far, including this one if it counts.
    pub(crate) count: u32,
    /// The first scan, Unix milliseconds; `None` if the tag was never scanned.
    pub(crate) first_at_ms: Option<u64>,
    /// Scans in the last 30 s, at most 5.
    pub(crate) in_30_s: u8,
    /// Scans in the last 60 s, at most 5.
    pub(crate) in_60_s: u8,
    /// Whether this tag is revoked.
    pub(crate) revoked: bool,
    /// Whether another caller has scanned the tag.
    pub(crate) seen_by_others: bool,
    /// Whether the script counted this request as a scan.
    pub(crate) counted: bool,
    /// The stored batch; empty if this process holds its revision.
    pub(crate) batch: Vec<u8>,
    /// The stored product; empty if this process holds its revision.
    pub(crate) product: Vec<u8>,
}

/// The outcome of one scan, as a script replies it.
#[derive(Debug)]
pub(crate) enum ScanOutcome {
    Answered(CountedScan),
    /// Any status but [`ScanStatus::Answered`].
    Rejected(ScanStatus),
}

/// A reply to a scan that was limited in the same call.
#[derive(Debug)]
pub(crate) struct LimitedReply {
    pub(crate) counted_by: CountedBy,
    /// The limiter's decision, for [`rate_limiter::Limiter::read`].
    pub(crate) decision: [i64; DECISION_INTS],
    pub(crate) outcome: ScanOutcome,
}

/// A reply to a scan that was limited elsewhere.
#[derive(Debug)]
pub(crate) struct ScanReply {
    pub(crate) outcome: ScanOutcome,
    /// The audit head, if the chain is longer than this process knows.
    pub(crate) head: Option<Value>,
}

impl LimitedReply {
    /// # Errors
    /// [`PoolError::Reply`] if the reply does not follow the protocol.
    pub(crate) fn read(value: Value) -> Result<Self, PoolError> {
        let parts = Parts::split(value)?;
        let [status, counted_by, rest @ ..] = parts.packed.as_slice() else {
            return Err(malformed("it is too short"));
        };
        let counted_by = CountedBy::from_byte(*counted_by).ok_or_else(|| malformed("an unknown subject"))?;
        let (ints, counts) = rest
            .split_at_checked(DECISION_INTS * size_of::<i64>())
            .ok_or_else(|| malformed("the limiter's part is too short"))?;
        let mut decision = [0; DECISION_INTS];
        for (int, bytes) in decision.iter_mut().zip(ints.as_chunks::<8>().0) {
            *int = i64::from_be_bytes(*bytes);
        }
        let outcome = ScanOutcome::read(*status, counts, parts.batch, parts.product)?;
        Ok(Self { counted_by, decision, outcome })
    }
}

impl ScanReply {
    /// # Errors
    /// [`PoolError::Reply`] if the reply does not follow the protocol.
    pub(crate) fn read(value: Value) -> Result<Self, PoolError> {
        let Parts { packed, batch, product, head } = Parts::split(value)?;
        let (status, counts) = packed.split_first().ok_or_else(|| malformed("it is too short"))?;
        Ok(Self { outcome: ScanOutcome::read(*status, counts, batch, product)?, head })
    }
}

impl ScanOutcome {
    fn read(status: u8, counts: &[u8], batch: Vec<u8>, product: Vec<u8>) -> Result<Self, PoolError> {
        match ScanStatus::from_byte(status) {
            Some(ScanStatus::Answered) => Ok(Self::Answered(CountedScan::read(counts, batch, product)?)),
            Some(status) => Ok(Self::Rejected(status)),
            None => Err(malformed("an unknown status")),
        }
    }
}

impl CountedScan {
    /// Bytes of the packed counts: see `COUNTS_LAYOUT`.
    const LEN: usize = 19;

    fn read(packed: &[u8], batch: Vec<u8>, product: Vec<u8>) -> Result<Self, PoolError> {
        let packed: &[u8; Self::LEN] =
            packed.try_into().map_err(|_| malformed("the counts have another length"))?;
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        Ok(Self {
            now_ms: number(&packed[..6]),
            count: u32::from_be_bytes([packed[6], packed[7], packed[8], packed[9]]),
            first_at_ms: Some(number(&packed[10..16])).filter(|at| *at > 0),
            in_30_s: packed[16],
            in_60_s: packed[17],
            revoked: packed[18] & REVOKED_BIT != 0,
            seen_by_others: packed[18] & SEEN_BY_OTHERS_BIT != 0,
            counted: packed[18] & COUNTED_BIT != 0,
            batch,
            product,
        })
    }
}

/// The strings of a reply to one scan. Records that were not sent are empty.
struct Parts {
    packed: Vec<u8>,
    batch: Vec<u8>,
    product: Vec<u8>,
    head: Option<Value>,
}

impl Parts {
    fn split(value: Value) -> Result<Self, PoolError> {
        use Value::{Array, BulkString};
        match value {
            BulkString(packed) => Ok(Self { packed, batch: Vec::new(), product: Vec::new(), head: None }),
            Array(mut values) => {
                let head = if values.len() == 4 { values.pop() } else { None };
                match <[Value; 3]>::try_from(values) {
                    Ok([BulkString(packed), BulkString(batch), BulkString(product)]) => {
                        Ok(Self { packed, batch, product, head })
                    }
                    _ => Err(malformed("three strings were expected")),
                }
            }
            _ => Err(malformed("a string was expected")),
        }
    }
}

/// Returns the error for a reply that does not follow the protocol.
pub(crate) fn malformed(what: &str) -> PoolError {
    PoolError::Reply { what: format!("scan: {what}") }
}
