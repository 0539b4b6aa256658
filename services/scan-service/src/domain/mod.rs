//! The domain of the service. It knows no HTTP.

pub(crate) mod admission;
pub(crate) mod cached_batch;
pub(crate) mod issuers;
pub(crate) mod limits;
pub(crate) mod machines;
pub(crate) mod minted;
pub(crate) mod public_records;
pub(crate) mod report;
pub(crate) mod risk;
pub(crate) mod scan;
pub(crate) mod scan_protocol;
pub(crate) mod verdict;
