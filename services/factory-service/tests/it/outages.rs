//! Redis unavailable, too slow or overloaded: requests fail with a reason and `Retry-After`.

use futures_util::future::join_all;
use serde_json::json;
use test_support::{FaultProxy, RedisServer};

use crate::support::{Factory, start};

#[tokio::test]
async fn a_factory_starts_without_redis_and_waits_for_it() {
    let mut redis = RedisServer::start().await;
    redis.kill();
    let factory = Factory::begin(&redis.url(), &[("REDIS_COMMAND_TIMEOUT_MS", "1000")]).await;
    assert_eq!(factory.get("/v1/health").await.status, 200);
    let rejected = factory.get("/v1/products").await;
    assert!(rejected.header("retry-after").parse::<u32>().unwrap() > 0);
    rejected.expect_problem(503, "redis-unavailable");
    let unready = factory.get("/v1/ready").await;
    assert!(unready.text.contains("\"redis\""), "{unready:?}");
    unready.expect_problem(503, "not-ready");
    redis.restart().await;
    factory.until_ready().await;
    factory.product().await;
}

#[tokio::test]
async fn a_redis_that_is_too_slow_is_unavailable() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let factory = Factory::start(&proxy.url(), &[("REDIS_COMMAND_TIMEOUT_MS", "1500")]).await;
    let product = format!("/v1/products/{}", factory.product().await);
    proxy.stall();
    factory.get(&product).await.expect_problem(503, "redis-unavailable");
    let made = factory.post("/v1/products", &json!({"name": "n", "brand": "b"})).await;
    assert!(made.header("retry-after").parse::<u32>().unwrap() > 0);
    made.expect_problem(503, "redis-unavailable");
    assert_eq!(factory.get("/v1/health").await.status, 200);
}

#[tokio::test]
async fn when_no_permit_becomes_free_the_answer_is_429_with_retry_after() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let settings =
        [("REDIS_POOL_SIZE", "1"), ("REDIS_POOL_WAIT_MS", "20"), ("REDIS_COMMAND_TIMEOUT_MS", "2000")];
    let factory = Factory::start(&proxy.url(), &settings).await;
    let product = format!("/v1/products/{}", factory.product().await);
    proxy.stall();
    let answers = join_all((0..10).map(|_| factory.get(&product))).await;
    let busy: Vec<_> = answers.into_iter().filter(|answer| answer.status == 429).collect();
    assert!(busy.len() >= 9, "at most one had the permit, {} got 429", busy.len());
    for answer in busy {
        assert!((1..=5).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
        answer.expect_problem(429, "service-overloaded");
    }
}

#[tokio::test]
async fn an_event_whose_reply_was_lost_is_in_the_chain_once() {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let through = Factory::start(&proxy.url(), &[("REDIS_COMMAND_TIMEOUT_MS", "1000")]).await;
    through.product().await;
    proxy.drop_replies_and_cut_after_next_request();
    let outcome = through.post("/v1/products", &json!({"name": "n", "brand": "b"})).await;
    let direct = Factory::start(&redis.url(), &[]).await;
    let history = direct.history().await;
    assert!(history.len() <= 2, "{history:?}");
    if outcome.status == 201 {
        assert_eq!(history.len(), 2, "an acknowledged event is in the chain");
    } else {
        outcome.expect_problem(503, "redis-unavailable");
    }
    direct.assert_chain_of(history.len() as u64).await;
}

#[tokio::test]
async fn a_corrupt_stored_value_is_an_opaque_500() {
    let (redis, factory) = start().await;
    factory.post("/v1/admin/keyring/tag", &serde_json::json!({"number": 2})).await.expect(200);
    let mut connection = redis.connection().await;
    // A live instance whose announcement cannot be read.
    let mut instance = redis::pipe();
    instance.zadd("vt1:live", "corrupt", i64::MAX >> 11).set("vt1:live:corrupt", "secret");
    let () = instance.query_async(&mut connection).await.unwrap();
    let activate = "/v1/admin/keyring/tag/2/activate";
    let detail = factory.post(activate, &serde_json::json!({})).await.expect_problem(500, "internal");
    assert!(!detail.contains("secret") && !detail.contains("instance"), "{detail}");
}
