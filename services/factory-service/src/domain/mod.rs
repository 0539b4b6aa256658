//! The factory's work, without HTTP: callers, checked input, and changes with their audit events.

pub(crate) mod adopt;
pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod audit_export;
pub(crate) mod batches;
pub(crate) mod checkpoints;
pub(crate) mod claimed_request;
pub(crate) mod claims;
pub(crate) mod epoch_batches;
pub(crate) mod export;
pub(crate) mod field_patch;
pub(crate) mod identity;
pub(crate) mod input;
pub(crate) mod keyring;
pub(crate) mod limits;
pub(crate) mod minted_notes;
pub(crate) mod products;
pub(crate) mod refusal;
pub(crate) mod restore;
pub(crate) mod rows;
pub(crate) mod store;
pub(crate) mod tags;
pub(crate) mod tenants;
pub(crate) mod unproven;
pub(crate) mod update;
pub(crate) mod verified;
