//! The protocol between this service and its scan scripts.
//!
//! - `lua/limited_scan.lua` limits and counts a batch of scans in one call; `lua/scan.lua` counts one scan
//!   that was limited elsewhere. Both use the functions of `lua/tag_scan.lua`.
//! - [`codes`] defines statuses, bits and layouts once, and generates the Lua constants from them.
//! - [`input`] packs a scan, [`reply`] unpacks the reply, [`scripts`] assembles and calls the scripts.
//! - [`coalescer`] joins the scans that wait at the same time into one call of `limited_scan.lua`.

pub(crate) mod coalescer;
pub(crate) mod codes;
pub(crate) mod input;
pub(crate) mod reply;
pub(crate) mod scripts;
#[cfg(test)]
mod tests;
