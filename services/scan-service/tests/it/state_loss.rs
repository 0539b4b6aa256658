//! A durable Redis with other data than the deployment: 503 `state-lost` and not ready, never a 404.

use redis::AsyncCommands;
use serde_json::json;
use test_support::{RedisServer, eventually};

use crate::app::{App, WAIT_LIMIT, open, spawn};
use crate::shop::{ORIGIN, SECRET, SIZE, Shop, flush, keys, make_deployment};

const OTHER_SECRET: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Checks that every route that needs the deployment has the same error.
async fn assert_lost(app: &App, shop: &Shop) {
    for index in [0, SIZE] {
        let rejected = app.scan(shop.tag(index)).await;
        rejected.assert_problem(503, "state-lost");
        assert!(rejected.retry_after() >= 1);
    }
    app.get(&format!("/t/{}", shop.tag(0))).await.assert_page(503);
    let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
    app.post_json("/v1/report", &report).await.assert_problem(503, "state-lost");
    eventually("the service is not ready, for its lost state", WAIT_LIMIT, || async {
        let answer = app.get("/v1/ready").await;
        answer.status == 503 && answer.text.contains("state lost")
    })
    .await;
    let ready = app.get("/v1/ready").await;
    ready.assert_problem(503, "not-ready");
    let rows = ready.json()["checks"].clone();
    let row = rows.as_array().unwrap().iter().find(|row| row["name"] == "deployment").unwrap().clone();
    assert_eq!(row["ok"], false, "{row}");
    assert_eq!(app.metric("voketag_durable_state_lost").await, 1);
}

/// Starts the service over a Redis that it rejects, and waits until it has checked it.
async fn closed(redis: &RedisServer, settings: &[(&str, &str)]) -> App {
    let url = redis.url();
    let settings: Vec<_> =
        [("REDIS_URL", url.as_str())].into_iter().chain(settings.iter().copied()).collect();
    let app = spawn(&settings).await;
    eventually("the service has checked Redis", WAIT_LIMIT, || async {
        app.get("/v1/ready").await.text.contains("deployment")
    })
    .await;
    app
}

#[tokio::test]
async fn an_empty_redis_is_lost_state_until_the_factory_initialises_it() {
    let shop = Shop::open().await;
    let empty = RedisServer::start().await;
    let app = closed(&empty, &[]).await;
    assert_lost(&app, &shop).await;
    assert_eq!(keys(&empty, "*").await, Vec::<String>::new(), "this service creates no deployment");

    make_deployment(&empty, SECRET, ORIGIN).await;
    eventually("the service is ready without a restart", WAIT_LIMIT, || app.is_ready()).await;
    app.scan(shop.tag(0)).await.assert_problem(404, "tag-not-found");
    assert_eq!(app.metric("voketag_durable_state_lost").await, 0);
}

#[tokio::test]
async fn a_flush_under_a_running_service_is_lost_state_at_once() {
    for separate_limiter in [false, true] {
        let (shop, limiter) = (Shop::open().await, RedisServer::start().await);
        let url = limiter.url();
        let settings: &[(&str, &str)] =
            if separate_limiter { &[("RATE_LIMIT_REDIS_URL", url.as_str())] } else { &[] };
        let app = open(&shop, settings).await;
        assert_eq!(app.scan(shop.tag(0)).await.status, 200);
        shop.flush().await;
        assert_lost(&app, &shop).await;
        let left = keys(&shop.redis, "vt1:*").await;
        assert_eq!(left, Vec::<String>::new(), "nothing was created in the empty Redis");
        assert_eq!(app.scans("state_lost").await, 3);
    }
}

#[tokio::test]
async fn a_process_does_not_accept_another_deployment() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    shop.flush().await;
    make_deployment(&shop.redis, SECRET, ORIGIN).await;
    assert_lost(&app, &shop).await;
    let fresh = open(&shop, &[]).await;
    fresh.scan(shop.tag(0)).await.assert_problem(404, "tag-not-found");
}

#[tokio::test]
async fn a_process_accepts_its_deployment_when_it_returns() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let mut connection = shop.redis.connection().await;
    let record: Vec<u8> = connection.get(catalog::keys::DEPLOYMENT).await.unwrap();
    let () = connection.del(catalog::keys::DEPLOYMENT).await.unwrap();
    assert_lost(&app, &shop).await;
    let () = connection.set(catalog::keys::DEPLOYMENT, record).await.unwrap();
    app.until_ready().await;
    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
}

#[tokio::test]
async fn a_secret_that_no_longer_matches_rejects_requests_and_readiness() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    let mut connection = shop.redis.connection().await;
    let record: String = connection.get(catalog::keys::DEPLOYMENT).await.unwrap();
    let unknown_epoch = "\"tag_checks\":{\"4000\":\"00000000000000000000000000000000\",";
    let other = record.replacen("\"tag_checks\":{", unknown_epoch, 1);
    assert_ne!(record, other);
    let () = connection.set(catalog::keys::DEPLOYMENT, other).await.unwrap();
    eventually("the service is not ready", WAIT_LIMIT, || async { !app.is_ready().await }).await;
    assert_lost(&app, &shop).await;
    let () = connection.set(catalog::keys::DEPLOYMENT, record).await.unwrap();
    app.until_ready().await;
    assert_eq!(app.scan(shop.tag(0)).await.verdict()["scan_count"], 2);
}

#[tokio::test]
async fn a_deployment_with_another_tag_secret_or_origin_is_rejected() {
    for (secret, origin) in [(OTHER_SECRET, ORIGIN), (SECRET, "elsewhere/audit")] {
        let redis = RedisServer::start().await;
        make_deployment(&redis, secret, origin).await;
        let app = closed(&redis, &[]).await;
        assert_lost(&app, &Shop::open().await).await;
        // An id of the deployment's secret. To this process it looks forged, but the response must not say
        // so.
        let secret = tag_id::MasterSecret::from_hex(secret).unwrap();
        let genuine = tag_id::TagKeys::new(Some(secret), [])
            .mint(tag_id::Epoch::MIN, tag_id::BatchNo::new(7).unwrap(), tag_id::TagIndex::new(0).unwrap())
            .unwrap();
        app.scan(genuine).await.assert_problem(503, "state-lost");
        app.get(&format!("/t/{genuine}")).await.assert_page(503);
        let report = json!({"tag_id": genuine.to_string(), "reason": "other"});
        app.post_json("/v1/report", &report).await.assert_problem(503, "state-lost");
        let body = app.get("/v1/ready").await.text;
        assert!(!body.contains(SECRET) && !body.contains(OTHER_SECRET), "{body}");
    }
}

#[tokio::test]
async fn a_missing_or_lower_audit_head_is_lost_state_until_it_is_restored() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let mut connection = shop.redis.connection().await;
    let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
    assert_eq!(app.post_json("/v1/report", &report).await.status, 202);
    let older: Vec<u8> = connection.get(audit_chain::keys::HEAD).await.unwrap();
    assert_eq!(app.post_json("/v1/report", &report).await.status, 202);
    let newest: Vec<u8> = connection.get(audit_chain::keys::HEAD).await.unwrap();
    for found in [None, Some(older)] {
        let () = match &found {
            Some(older) => connection.set(audit_chain::keys::HEAD, older).await.unwrap(),
            None => connection.del(audit_chain::keys::HEAD).await.unwrap(),
        };
        app.post_json("/v1/report", &report).await.assert_problem(503, "state-lost");
        eventually("the service is not ready", WAIT_LIMIT, || async { !app.is_ready().await }).await;
        app.scan(shop.tag(0)).await.assert_problem(503, "state-lost");
        let stored: Option<Vec<u8>> = connection.get(audit_chain::keys::HEAD).await.unwrap();
        assert_eq!(stored, found, "nothing was appended");
        let () = connection.set(audit_chain::keys::HEAD, &newest).await.unwrap();
        app.until_ready().await;
        assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    }
    assert_eq!(app.post_json("/v1/report", &report).await.status, 202);
}

/// The audit head and the state of a tag, which make an older copy of the shop.
async fn copy_of(shop: &Shop) -> [(String, Option<Vec<u8>>); 2] {
    let mut connection = shop.redis.connection().await;
    let (head, tag) = (audit_chain::keys::HEAD.to_owned(), shop.state_key(0));
    let (old_head, old_tag) = (connection.get(&head).await.unwrap(), connection.get(&tag).await.unwrap());
    [(head, old_head), (tag, old_tag)]
}

async fn restore(shop: &Shop, copy: &[(String, Option<Vec<u8>>)]) {
    let mut swap = redis::pipe();
    swap.atomic();
    for (key, value) in copy {
        match value {
            Some(value) => swap.set(key, value).ignore(),
            None => swap.del(key).ignore(),
        };
    }
    let () = swap.query_async(&mut shop.redis.connection().await).await.unwrap();
}

#[tokio::test]
async fn an_older_copy_without_a_revocation_is_rejected_by_the_next_scan() {
    for separate_limiter in [false, true] {
        let (shop, limiter) = (Shop::open().await, RedisServer::start().await);
        let url = limiter.url();
        let settings: &[(&str, &str)] =
            if separate_limiter { &[("RATE_LIMIT_REDIS_URL", url.as_str())] } else { &[] };
        let app = open(&shop, settings).await;
        assert_eq!(app.scan(shop.tag(0)).await.verdict()["valid"], true);
        let older = copy_of(&shop).await;
        // Another process revokes. This one learns of the event only from the scan.
        shop.revoke_tag(0).await;
        shop.move_key(2, &keyring::Move::Add).await;
        assert_eq!(app.scan(shop.tag(0)).await.verdict()["valid"], false);
        let newest = copy_of(&shop).await;
        restore(&shop, &older).await;
        app.scan(shop.tag(0)).await.assert_problem(503, "state-lost");
        assert_lost(&app, &shop).await;
        assert_eq!(copy_of(&shop).await, older, "nothing was counted or appended");
        restore(&shop, &newest).await;
        app.until_ready().await;
        assert_eq!(app.scan(shop.tag(0)).await.verdict()["valid"], false);
    }
}

#[tokio::test]
async fn a_flushed_limiter_redis_is_not_lost_state() {
    let (shop, limiter) = (Shop::open().await, RedisServer::start().await);
    let url = limiter.url();
    let app = open(&shop, &[("RATE_LIMIT_REDIS_URL", url.as_str())]).await;
    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    flush(&limiter).await;
    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    assert!(app.is_ready().await);
}

/// Returns what STATE_DIR has recorded of the audit chain.
fn recorded_size(state: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    let file = files.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "json"));
    let recorded = file.map(|file| std::fs::read(file).unwrap());
    recorded.map_or(0, |bytes| {
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()["size"].as_u64().unwrap()
    })
}

#[tokio::test]
async fn with_state_dir_a_restored_copy_is_lost_state_until_its_generation_is_raised() {
    let (shop, state) = (Shop::open().await, tempfile::tempdir().unwrap());
    let settings = [("STATE_DIR", state.path().to_str().unwrap())];
    let app = open(&shop, &settings).await;
    shop.move_key(2, &keyring::Move::Add).await;
    let older = copy_of(&shop).await;
    shop.revoke_tag(0).await;
    shop.move_key(3, &keyring::Move::Add).await;
    assert_eq!(app.scan(shop.tag(0)).await.verdict()["valid"], false);
    eventually("STATE_DIR has the new size", WAIT_LIMIT, || async { recorded_size(state.path()) == 2 }).await;
    restore(&shop, &older).await;
    let mut connection = shop.redis.connection().await;
    let () = connection.ltrim("vt1:{audit}:seg:0", 0, 0).await.unwrap();

    app.scan(shop.tag(0)).await.assert_problem(503, "state-lost");
    let started = closed(&shop.redis, &settings).await;
    for app in [&app, &started] {
        eventually("readiness states the reason", WAIT_LIMIT, || async {
            app.get("/v1/ready")
                .await
                .text
                .contains("state lost: rolled back: the audit head went back from 2")
        })
        .await;
        let rejected = app.scan(shop.tag(0)).await;
        rejected.assert_problem(503, "state-lost");
        assert!(rejected.text.contains("rolled back"), "{}", rejected.text);
    }
    let without = open(&shop, &[]).await;
    assert_eq!(without.scan(shop.tag(1)).await.status, 200, "without STATE_DIR the copy is accepted");

    let record: String = connection.get(catalog::keys::DEPLOYMENT).await.unwrap();
    let raised = record.replacen(",\"audit_origin\"", ",\"restore_generation\":1,\"audit_origin\"", 1);
    let () = connection.set(catalog::keys::DEPLOYMENT, raised).await.unwrap();
    for app in [&app, &started] {
        app.until_ready().await;
        assert_eq!(app.scan(shop.tag(1)).await.status, 200);
    }
    // This process was ready all along: its next call finds the new generation, and a refresh accepts it.
    eventually("the process that was ready works in the new generation", WAIT_LIMIT, || async {
        without.scan(shop.tag(1)).await.status == 200
    })
    .await;
    eventually("STATE_DIR has the restored size", WAIT_LIMIT, || async { recorded_size(state.path()) == 1 })
        .await;
    // A process without the new generation is rejected at its next call.
    let () = connection.set(catalog::keys::DEPLOYMENT, record).await.unwrap();
    app.scan(shop.tag(1)).await.assert_problem(503, "state-lost");
}
