//! HTTP handlers: one file per route or group of similar routes, and the parts that pages share.

pub(crate) mod caller;
pub(crate) mod home;
pub(crate) mod ops;
pub(crate) mod page;
pub(crate) mod problem_page;
pub(crate) mod problems;
pub(crate) mod region;
pub(crate) mod rejection;
pub(crate) mod report;
pub(crate) mod report_page;
pub(crate) mod scan;
pub(crate) mod scan_page;
pub(crate) mod sender;
pub(crate) mod unproven_page;
pub(crate) mod verdict_words;
