//! Reading the chain and verifying it, with Redis ([`log`]) and without ([`verifier`]).

pub(crate) mod log;
pub(crate) mod verifier;
