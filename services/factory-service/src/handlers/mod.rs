//! The handlers, one file per resource. Each reads the request, calls the domain once and writes the answer.

pub(crate) mod admin;
pub(crate) mod audit;
pub(crate) mod audit_export;
pub(crate) mod batch;
pub(crate) mod batches;
pub(crate) mod caller;
mod completion;
mod error;
pub(crate) mod export;
pub(crate) mod guard;
pub(crate) mod idempotency;
pub(crate) mod instant;
mod list;
pub(crate) mod ops;
pub(crate) mod or_default;
pub(crate) mod problems;
pub(crate) mod product;
pub(crate) mod products;
mod reply;
pub(crate) mod tag;
pub(crate) mod verify;
pub(crate) mod version;
mod withdrawal;
