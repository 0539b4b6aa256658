//! Failover: the primary of the durable Redis is demoted and stays up, and its name moves to the new primary.

use ambient::{Clock, SystemClock};
use test_support::{Failover, RedisServer, eventually};

use crate::support::{Factory, SOON};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_minting_continues_automatically_on_the_same_chain() {
    let mut redis = Failover::of(RedisServer::start().await).await;
    let factory = Factory::start(&redis.proxy.url(), &[("REDIS_COMMAND_TIMEOUT_MS", "1000")]).await;
    for _ in 0..2 {
        factory.batch(3).await;
        redis.demote().await;
        eventually("readiness names the code", SOON, async || {
            let ready = factory.get("/v1/ready").await;
            ready.status == 503 && ready.text.contains("READONLY")
        })
        .await;
        redis.promote().await;
        let clock = SystemClock::new();
        factory.until_ready().await;
        println!("ready {} ms after the promotion", clock.monotonic().as_millis());
    }
    factory.batch(3).await;
    factory.assert_chain_of(factory.history().await.len() as u64).await;
}
