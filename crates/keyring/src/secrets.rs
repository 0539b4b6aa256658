//! The secrets that this process holds.

use std::sync::Arc;

use crate::signing::SigningKeys;

/// The tag secrets and signing keys from the settings of this process.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Tag secrets.
    pub tags: Arc<tag_id::TagKeys>,
    /// Signing keys.
    pub signing: Arc<SigningKeys>,
}
