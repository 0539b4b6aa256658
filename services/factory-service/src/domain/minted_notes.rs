//! Records, once and in the background, the batches that were minted before such records existed. See
//! [`catalog::minted`].

use std::time::Duration;

use ambient::entropy;
use catalog::minted;
use redis_pool::RedisPool;
use storage::DeploymentState;

/// Pause before the next attempt.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// Retries until everything is recorded.
pub(crate) async fn note_all(pool: &RedisPool, deployment: &DeploymentState) {
    loop {
        if deployment.deployment().is_ok() {
            match spans::in_job("note minted batches", minted::note_all(pool, deployment.gate())).await {
                Ok(None) => return,
                Ok(Some(batches)) => {
                    tracing::info!(batches, "recorded the batches of earlier versions");
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "recording the batches of earlier versions failed; trying again")
                }
            }
        }
        tokio::time::sleep(entropy::jittered(TRY_EVERY, 200)).await;
    }
}
