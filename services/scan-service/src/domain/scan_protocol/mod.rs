//! The protocol between this service and its scan scripts.
//!
//! - `lua/limited_scan.lua` limits and counts a batch of scans in one call, `lua/scan.lua` counts one scan that was
//!   limited elsewhere. Both follow the functions in `lua/tag_scan.lua`.
//! - [`look`] packs a request, [`reply`] unpacks a reply.
//! - [`coalescer`] joins the scans that wait at the same time into one script call.

pub(crate) mod coalescer;
pub(crate) mod look;
pub(crate) mod reply;
#[cfg(test)]
mod tests;

/// The Lua functions `scan_judge`, `scan_records`, `tag_scan`, `batch_holds`, `batch_lost` and `is_deployment`.
pub(crate) const TAG_SCAN_LUA: &str = include_str!("lua/tag_scan.lua");
