//! The primary of the durable Redis is demoted, and its name then leads to the new primary.

use ambient::{Clock, SystemClock};
use test_support::{Failover, eventually};

use crate::app::{WAIT_LIMIT, open_at};
use crate::shop::Shop;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_scans_continue_and_keep_counting() {
    let shop = Shop::open().await;
    let tag = shop.tag(0);
    let mut redis = Failover::of(shop.redis).await;
    let app = open_at(&redis.proxy.url(), &[("REDIS_COMMAND_TIMEOUT_MS", "1000")]).await;
    let mut scans = 0;
    for _ in 0..2 {
        let scan = app.scan(tag).await;
        scans += 1;
        assert_eq!((scan.status, &scan.json()["scan_count"]), (200, &serde_json::json!(scans)));
        redis.demote().await;
        eventually("readiness names the code", WAIT_LIMIT, async || {
            let ready = app.get("/v1/ready").await;
            ready.status == 503 && ready.text.contains("READONLY")
        })
        .await;
        redis.promote().await;
        let clock = SystemClock::new();
        app.until_ready().await;
        println!("ready {} ms after the promotion", clock.monotonic().as_millis());
    }
}
