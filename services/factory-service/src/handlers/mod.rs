//! One file per resource: read the request, call the domain once, write the answer.

pub(crate) mod audit;
pub(crate) mod batch;
pub(crate) mod batches;
mod caller;
pub(crate) mod export;
mod list;
pub(crate) mod ops;
pub(crate) mod problems;
pub(crate) mod product;
pub(crate) mod products;
mod refusal;
pub(crate) mod tag;
mod withdrawal;
