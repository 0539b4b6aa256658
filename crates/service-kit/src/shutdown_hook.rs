//! What a process that stops still does, so that the others need not wait for it and nothing noted is lost.

use std::sync::Arc;

use access::LastUse;

use crate::durable::Durable;

/// Keeps what was seen in `STATE_DIR`, takes leave of the keyring, so that no key waits for this instance, and writes down when API keys
/// were last used.
pub async fn shutdown_hook(durable: Arc<Durable>, last_use: LastUse) {
    durable.keep_state().await;
    durable.leave().await;
    let Ok(deployment) = durable.deployment() else { return };
    if let Err(error) = last_use.flush(durable.pool(), deployment.prefix()).await {
        tracing::warn!(%error, "could not write when keys were last used");
    }
}
