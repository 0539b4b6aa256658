//! What the service does, told without HTTP.

pub(crate) mod admission;
pub(crate) mod cached_batch;
pub(crate) mod coalescer;
pub(crate) mod issuers;
pub(crate) mod limits;
pub(crate) mod look;
pub(crate) mod machines;
pub(crate) mod minted;
pub(crate) mod reply;
pub(crate) mod report;
pub(crate) mod risk;
pub(crate) mod scan;
pub(crate) mod verdict;
