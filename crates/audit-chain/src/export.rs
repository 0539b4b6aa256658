//! The chain as a file that anyone can verify with public keys alone, in constant memory: lines of JSON.
//!
//! ```text
//! {"format":"voketag-audit-export/v2","origin":…,"size":…,"head":…,"exported_at":…,"checkpoints":[…],…}
//! {"seq":0,"prev":…,"payload_hash":…,"hash":…,"event":{…}}
//! {"seq":1,"prev":…,"payload_hash":…,"hash":…,"event":null}
//! {"end":true,"size":…,"head":…}
//! ```
//!
//! - The first line holds the signed checkpoints, so that a reader computes their roots while it streams.
//! - The last record repeats size and head. A file without it is incomplete, wherever it was cut.
//! - An entry whose event is `null` (another tenant's) verifies by its payload hash.
//!
//! [`ExportPages`] writes a file, [`verify_export`] verifies one. Verification ends in one of three ways: a
//! report of what is wrong, with the first wrong seq; a report that the file is cut but sound as far as it
//! goes; or an [`ExportError`], which says nothing about the chain.

mod checkpoints;
mod format;
mod pages;
mod verify;

pub use self::checkpoints::CheckedNote;
pub use self::format::{ExportHeader, FORMAT, MAX_LINE_BYTES, end_line, entry_line};
pub use self::pages::ExportPages;
pub use self::verify::{ExportError, ExportReport, verify_export};
