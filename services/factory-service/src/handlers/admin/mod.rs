//! Routes for operators: tenants, API keys, the keyring and the whole audit trail. They need the scope
//! `admin`.

pub(crate) mod api_key;
mod api_key_answer;
pub(crate) mod api_keys;
pub(crate) mod audit;
pub(crate) mod keyring;
pub(crate) mod keyring_answer;
pub(crate) mod keyring_preview;
pub(crate) mod keyring_revocation;
pub(crate) mod tenant;
pub(crate) mod tenants;
pub(crate) mod unproven_reports;
