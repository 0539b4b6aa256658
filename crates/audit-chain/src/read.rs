//! Reading the chain and verifying it.
//!
//! - [`log`]: the [`log::AuditLog`] and the head.
//! - [`pages`]: pages of entries, bounded in entries and in bytes.
//! - [`verify_range`]: verifying any range of the stored chain in constant memory.
//! - [`verifier`]: the same verification of stored elements without Redis.

pub(crate) mod log;
pub(crate) mod pages;
pub(crate) mod verifier;
mod verify_range;
