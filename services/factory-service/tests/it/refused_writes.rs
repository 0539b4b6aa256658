//! A Redis that rejects writes but not reads: requests fail with a reason and `Retry-After`, readiness names
//! the cause, and the service recovers automatically.

use ambient::{Clock, SystemClock};
use serde_json::json;
use test_support::{RedisServer, WriteRefusal, eventually};

use crate::support::{Factory, SOON};

async fn assert_rejected_and_recovered(refusal: WriteRefusal) {
    let redis = RedisServer::start().await;
    let url = redis.with_documented_rights().await;
    let factory = Factory::start(&url, &[("REDIS_COMMAND_TIMEOUT_MS", "1000")]).await;
    factory.product().await;
    refusal.begin(&redis).await;
    let clock = SystemClock::new();
    let names_code = |text: &str| text.contains(refusal.code());
    eventually("readiness names the code", SOON, async || {
        let ready = factory.get("/v1/ready").await;
        ready.status == 503 && names_code(&ready.text)
    })
    .await;
    println!("{}: reported by readiness after {} ms", refusal.code(), clock.monotonic().as_millis());
    for _ in 0..10 {
        let made = factory.post("/v1/products", &json!({"name": "n", "brand": "b"})).await;
        assert!(made.header("retry-after").parse::<u32>().unwrap() > 0);
        made.expect_problem(503, "redis-unavailable");
        let ready = factory.get("/v1/ready").await;
        assert!(ready.status == 503 && names_code(&ready.text), "steadily: {ready:?}");
    }
    refusal.end(&redis).await;
    factory.until_ready().await;
    eventually("products can be made again", SOON, async || {
        factory.post("/v1/products", &json!({"name": "n", "brand": "b"})).await.status == 201
    })
    .await;
    let metrics = factory.get("/metrics").await.text;
    let counted = format!("voketag_redis_errors_total{{pool=\"durable\",code=\"{}\"}}", refusal.code());
    assert!(metrics.contains(&counted), "{metrics}");
    factory.assert_chain_of(factory.history().await.len() as u64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_writes_are_reported_and_the_service_recovers() {
    let states = WriteRefusal::ALL.map(|refusal| tokio::spawn(assert_rejected_and_recovered(refusal)));
    for state in states {
        state.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limiter_redis_that_rejects_writes_is_reported_and_blocks_no_request() {
    let (redis, limiter) = (RedisServer::start().await, RedisServer::start().await);
    let limiter_url = limiter.with_documented_rights().await;
    let factory = Factory::start(&redis.url(), &[("RATE_LIMIT_REDIS_URL", &limiter_url)]).await;
    for refusal in WriteRefusal::ALL {
        refusal.begin(&limiter).await;
        eventually("readiness names the code", SOON, async || {
            let ready = factory.get("/v1/ready").await;
            ready.status == 200 && ready.text.contains(&format!("it refuses writes: {}", refusal.code()))
        })
        .await;
        factory.product().await;
        refusal.end(&limiter).await;
        let recovered = async || !factory.get("/v1/ready").await.text.contains("it refuses writes");
        eventually("the limiter has recovered", SOON, recovered).await;
    }
}
