//! Notes once, in the background, what was minted before there were notes of it: see [`catalog::minted`].

use std::time::Duration;

use ambient::entropy;
use catalog::minted;
use redis_pool::RedisPool;
use storage::DeploymentState;

/// Pause before another try.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// Tries until it is done.
pub(crate) async fn note_all(pool: &RedisPool, deployment: &DeploymentState) {
    loop {
        if deployment.deployment().is_ok() {
            match minted::note_all(pool, deployment.gate()).await {
                Ok(None) => return,
                Ok(Some(batches)) => {
                    tracing::info!(batches, "noted what was minted before");
                    return;
                }
                Err(error) => tracing::warn!(%error, "could not note what was minted before; trying again"),
            }
        }
        tokio::time::sleep(entropy::jittered(TRY_EVERY, 200)).await;
    }
}
