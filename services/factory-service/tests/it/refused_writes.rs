//! A Redis that refuses writes and goes on reading: refused with a reason and a time, named in readiness, and recovered from without help.

use ambient::{Clock, SystemClock};
use serde_json::json;
use test_support::{RedisServer, WriteRefusal, eventually};

use crate::support::{Factory, SOON};

async fn in_state(refusal: WriteRefusal) {
    let redis = RedisServer::start().await;
    let url = redis.with_documented_rights().await;
    let factory = Factory::start(&url, &[("REDIS_COMMAND_TIMEOUT_MS", "1000")]).await;
    factory.product().await;
    refusal.begin(&redis).await;
    let clock = SystemClock::new();
    let named = |text: &str| text.contains(refusal.code());
    eventually("readiness names the code", SOON, async || {
        let ready = factory.get("/v1/ready").await;
        ready.status == 503 && named(&ready.text)
    })
    .await;
    println!("{}: named in readiness after {} ms", refusal.code(), clock.monotonic().as_millis());
    for _ in 0..10 {
        let made = factory.post("/v1/products", &json!({"name": "n", "brand": "b"})).await;
        assert!(made.header("retry-after").parse::<u32>().unwrap() > 0);
        made.refused(503, "redis-unavailable");
        let ready = factory.get("/v1/ready").await;
        assert!(ready.status == 503 && named(&ready.text), "steadily: {ready:?}");
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
async fn refused_writes_are_told_and_recovered_from() {
    let states = WriteRefusal::ALL.map(|refusal| tokio::spawn(in_state(refusal)));
    for state in states {
        state.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limiter_redis_that_refuses_writes_is_told_and_keeps_nobody_from_revoking() {
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
        eventually("it has recovered", SOON, recovered).await;
    }
}
