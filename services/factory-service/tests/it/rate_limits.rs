//! Rate limits of keys, tenants and addresses.

use reqwest::Method;
use serde_json::json;
use test_support::{FaultProxy, RedisServer};

use crate::cli::Operator;
use crate::isolation::{brand, key, send};
use crate::support::{Answer, Factory, KEY, SOON, answer, stored_keys};

const WRITES: &str = "RATE_LIMIT_FACTORY_WRITES_PER_MINUTE";
const READS: &str = "RATE_LIMIT_FACTORY_READS_PER_MINUTE";
const FAILURES: &str = "RATE_LIMIT_FACTORY_AUTH_FAILURES_PER_MINUTE";

async fn read(factory: &Factory, key: &str) -> Answer {
    send(factory, key, Method::GET, "/v1/products", None).await
}

async fn write(factory: &Factory, key: &str) -> Answer {
    let body = json!({"name": "n", "brand": "b"});
    send(factory, key, Method::POST, "/v1/products", Some(&body)).await
}

#[tokio::test]
async fn each_key_has_a_quota_of_writes_and_reads_and_headers_show_the_rest() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[(WRITES, "3"), (READS, "5")]).await;
    // Requests of the operator count against the operator's own key.
    let one = brand(&factory, "one").await;
    for left in (0..3).rev() {
        let made = write(&factory, &one).await;
        assert_eq!(made.header("ratelimit-policy"), r#""key-writes";q=3;w=60, "tenant-writes";q=15;w=60"#);
        let state = made.header("ratelimit");
        assert!(state.starts_with(&format!("\"key-writes\";r={left};t=")), "{state}");
        made.expect(201);
    }
    let denied = write(&factory, &one).await;
    let wait: u64 = denied.header("retry-after").parse().unwrap();
    assert!(
        (1..=60).contains(&wait) && denied.header("ratelimit").contains("\"key-writes\";r=0;"),
        "{denied:?}"
    );
    denied.expect_problem(429, "rate-limited");
    for _ in 0..5 {
        let read = read(&factory, &one).await;
        assert!(
            read.header("ratelimit-policy").starts_with("\"key-reads\";q=5;w=60"),
            "not halved: {read:?}"
        );
        read.expect(200);
    }
    read(&factory, &one).await.expect_problem(429, "rate-limited");
    let series = "voketag_rate_limit_decisions_total{dimension=\"key-writes\",decision=\"denied\"}";
    assert_eq!(factory.metric(series).await, "1");
    assert!(
        !stored_keys(&redis).await.iter().any(|key| key.contains("factory")),
        "limiter keys have their own prefix"
    );
}

#[tokio::test]
async fn a_tenant_has_five_times_as_much_as_a_key() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[(READS, "2")]).await;
    let (one, two) = (brand(&factory, "one").await, brand(&factory, "two").await);
    let mut keys = vec![one];
    for _ in 0..6 {
        keys.push(key(&factory, "one", &["factory:read"]).await);
    }
    let mut passed = 0;
    for key in &keys {
        for _ in 0..2 {
            passed += usize::from(read(&factory, key).await.status == 200);
        }
    }
    assert_eq!(passed, 10);
    let denied = read(&factory, &keys[6]).await;
    assert!(denied.header("ratelimit").contains("\"tenant-reads\";r=0;"), "{denied:?}");
    denied.expect_problem(429, "rate-limited");
    read(&factory, &two).await.expect(200);
}

#[tokio::test]
async fn an_address_has_a_quota_of_failed_authentications_and_valid_keys_still_pass() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[(FAILURES, "4"), ("TRUSTED_PROXIES", "127.0.0.1")]).await;
    let one = brand(&factory, "one").await;
    let wrong = "vk_00000000_wrong-wrong-wrong-wrong-wrong";
    let attempt = async |key: Option<&str>, from: &str| {
        let request =
            factory.client.get(format!("{}/v1/products", factory.base)).header("x-forwarded-for", from);
        answer(if let Some(key) = key { request.bearer_auth(key) } else { request }).await
    };
    for key in [Some(wrong), None, Some("nonsense"), None] {
        let rejected = attempt(key, "203.0.113.7").await;
        assert_eq!(rejected.header("ratelimit-policy"), "\"auth-failures\";q=4;w=60");
        rejected.expect_problem(401, "unauthenticated");
    }
    for key in [Some(wrong), None] {
        let denied = attempt(key, "203.0.113.7").await;
        assert!(denied.header("retry-after").parse::<u64>().unwrap() <= 60);
        denied.expect_problem(429, "rate-limited");
    }
    attempt(Some(&one), "203.0.113.7").await.expect(200);
    attempt(None, "203.0.113.8").await.expect_problem(401, "unauthenticated");
    attempt(None, "2001:db8:1:2::1").await.expect_problem(401, "unauthenticated");
    assert!(attempt(None, "2001:db8:1:2::2").await.header("ratelimit").contains("r=2;"), "by /64");
}

#[tokio::test]
async fn without_its_redis_the_limiter_counts_in_the_process_and_revocations_pass() {
    let (redis, limiter) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = FaultProxy::start(limiter.addr()).await;
    let settings =
        [("RATE_LIMIT_REDIS_URL", &*proxy.url()), (WRITES, "40"), ("REDIS_COMMAND_TIMEOUT_MS", "500")];
    let factory = Factory::start(&redis.url(), &settings).await;
    let batch = factory.batch(1).await;
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("vtrl1:{factory}:*")
        .query_async(&mut limiter.connection().await)
        .await
        .unwrap();
    assert!(keys.len() >= 2, "{keys:?}");
    let ours: Vec<String> =
        redis::cmd("KEYS").arg("vtrl1:*").query_async(&mut redis.connection().await).await.unwrap();
    assert!(ours.is_empty(), "{ours:?}");

    proxy.cut();
    let path = format!("/v1/batches/{}/revoke", batch["id"].as_str().unwrap());
    let revoked = factory.post(&path, &json!({"reason": "leaked"})).await;
    assert!(revoked.header("ratelimit-policy").contains("q=40"), "in this process, not halved: {revoked:?}");
    revoked.expect(200);
    let ready = factory.get("/v1/ready").await;
    assert!(ready.status == 200 && ready.text.contains("limiter_redis"), "{ready:?}");
    let mut denied = 0;
    for _ in 0..45 {
        denied += usize::from(factory.post(&path, &json!({"reason": "again"})).await.status == 429);
    }
    assert_eq!(denied, 6, "one request was spent before");
    assert!(factory.metric("voketag_rate_limit_in_process_total").await.parse::<u64>().unwrap() >= 40);
}

#[tokio::test]
async fn a_new_or_wiped_limiter_redis_halves_no_quota_and_gets_no_region() {
    let (redis, limiter) = (RedisServer::start().await, RedisServer::start().await);
    let settings = [("RATE_LIMIT_REDIS_URL", &*limiter.url()), (READS, "6000")];
    let factory = Factory::start(&redis.url(), &settings).await;
    for _ in 0..2 {
        let read = factory.get("/v1/products").await;
        assert!(read.header("ratelimit-policy").contains("\"key-reads\";q=6000;w=60"), "{read:?}");
        assert!(read.header("ratelimit").contains("\"key-reads\";r=5999;"), "{read:?}");
        let mut link = limiter.connection().await;
        let born: Vec<String> = redis::cmd("KEYS").arg("vtrl1:*:born").query_async(&mut link).await.unwrap();
        assert!(born.is_empty(), "the factory creates no region: {born:?}");
        let () = redis::cmd("FLUSHALL").query_async(&mut link).await.unwrap();
    }
}

/// The limiter's Redis neither answers nor closes, and the pool's deadline is much later.
#[tokio::test]
async fn a_silent_limiter_redis_does_not_delay_a_revocation() {
    let (redis, limiter) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = FaultProxy::start(limiter.addr()).await;
    let settings = [("RATE_LIMIT_REDIS_URL", &*proxy.url()), ("REDIS_COMMAND_TIMEOUT_MS", "60000")];
    let factory = Factory::start(&redis.url(), &settings).await;
    let batch = factory.batch(1).await;
    proxy.stall();
    let path = format!("/v1/batches/{}/revoke", batch["id"].as_str().unwrap());
    let revoked = tokio::time::timeout(SOON, factory.post(&path, &json!({"reason": "leaked"}))).await;
    revoked.expect("the request does not wait for the limiter's Redis").expect(200);
    assert_eq!(factory.metric("voketag_rate_limit_in_process_total").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_is_not_limited() {
    let redis = RedisServer::start().await;
    let limits = [(WRITES, "1"), (READS, "1")];
    let factory = Factory::start(&redis.url(), &limits).await;
    let operator = Operator { redis_url: redis.url() };
    write(&factory, KEY).await.expect(201);
    write(&factory, KEY).await.expect_problem(429, "rate-limited");
    for tenant in ["one", "two", "three"] {
        let mut command = operator.command();
        command.envs(limits).args(["tenant", "create", tenant]);
        let made = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(made.status.success(), "{made:?}");
    }
}
