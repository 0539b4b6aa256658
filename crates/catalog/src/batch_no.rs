//! Random draws of unused batch numbers.
//!
//! The numbers are random so that a deployment that was restored from a backup, or created twice by mistake,
//! does not assign printed tags to a second product.

use std::sync::LazyLock;

use redis_pool::{RedisPool, Script};
use tag_id::BatchNo;

use crate::deployment_record::Deployment;
use crate::error::DeploymentError;
use crate::keys;

/// Number of batch numbers.
pub(crate) const NUMBERS: u64 = BatchNo::MAX.get() as u64 + 1;
/// Candidates per script call, and calls per draw. Together they find a number unless 99 in 100 are used.
const DRAWN_AT_ONCE: usize = 250;
const DRAWS: usize = 4;

/// Replies of the script that are not a batch number.
const OTHER_DEPLOYMENT: i64 = -1;
const NO_HASH: i64 = -3;

static DRAW_BATCH_NO: LazyLock<Script> =
    LazyLock::new(|| Script::new("draw_batch_no", include_str!("lua/draw_batch_no.lua")));

/// Result of a draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drawn {
    Number(BatchNo),
    /// No candidate is unused.
    NearlyAllUsed,
    /// The deployment record is missing or different.
    OtherDeployment,
}

/// Draws among the numbers below `numbers`. Writes nothing.
pub(crate) async fn draw(
    pool: &RedisPool,
    deployment: &Deployment,
    numbers: u64,
) -> Result<Drawn, DeploymentError> {
    for _ in 0..DRAWS {
        let mut call = DRAW_BATCH_NO.invoke().key(keys::DEPLOYMENT).key(keys::MINTED);
        call.push_arg(deployment.prefix());
        call.push_arg(keys::BATCH_PREFIX);
        for _ in 0..DRAWN_AT_ONCE {
            call.push_arg(ambient::entropy::random_u64() % numbers);
        }
        match call.run::<i64>(pool).await? {
            OTHER_DEPLOYMENT => return Ok(Drawn::OtherDeployment),
            // The gate stays open: existing tags can still be scanned.
            NO_HASH => {
                return Err(DeploymentError::Lost("the minted-batch index is not a hash".to_owned()));
            }
            number => {
                if let Some(number) = u32::try_from(number).ok().and_then(BatchNo::new) {
                    return Ok(Drawn::Number(number));
                }
            }
        }
    }
    Ok(Drawn::NearlyAllUsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::AsyncCommands;
    use redis_pool::{PoolConfig, PoolMetrics};
    use std::collections::BTreeSet;
    use std::num::NonZeroUsize;
    use std::sync::Arc;
    use std::time::Duration;
    use test_support::RedisServer;

    const RECORD: &str =
        r#"{"id":"ab","audit_origin":"o","created_at":"2026-02-16T12:00:00Z","tag_checks":{}}"#;

    #[tokio::test]
    async fn each_unused_number_of_a_nearly_full_space_is_drawn_and_none_of_a_full_one() {
        let redis = RedisServer::start().await;
        let wait = Duration::from_secs(10);
        let config = PoolConfig {
            name: "test",
            url: redis.url().parse().unwrap(),
            permits: NonZeroUsize::MIN,
            connections: NonZeroUsize::MIN,
            wait,
            command_timeout: wait,
            open_for: redis_pool::OPEN_FOR,
        };
        let pool = RedisPool::new(config, Arc::new(ambient::SystemClock::new()), &PoolMetrics::default());
        let mut connection = redis.connection().await;
        let () = connection.set(keys::DEPLOYMENT, RECORD).await.unwrap();
        let stored = crate::StoredDeployment::parse(RECORD.into()).unwrap();
        let deployment = Deployment::of(&stored.into_record());
        // 254 of 256 numbers are used: a draw of 1,000 candidates misses both others once in 2,500 draws.
        for number in 0..254 {
            let () = connection.hset(keys::MINTED, number, "012345").await.unwrap();
        }
        let mut drawn = BTreeSet::new();
        for _ in 0..40 {
            if let Drawn::Number(number) = draw(&pool, &deployment, 256).await.unwrap() {
                drawn.insert(number.get());
            }
        }
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [254, 255]);
        let () = connection.hset(keys::MINTED, 254, "012345").await.unwrap();
        let () = connection.set("vt1:b:255", "a record without an index entry").await.unwrap();
        assert_eq!(draw(&pool, &deployment, 256).await.unwrap(), Drawn::NearlyAllUsed);
    }
}
