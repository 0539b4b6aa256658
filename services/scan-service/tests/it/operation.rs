//! Readiness, metrics, and the OpenAPI document.

use std::collections::BTreeSet;

use reqwest::redirect::Policy;
use serde_json::{Value, json};
use test_support::{RedisServer, eventually};

use crate::app::{App, WAIT_LIMIT, open, open_at, send, spawn};
use crate::partners::Partner;
use crate::shop::{SECRET, SIZE, Shop};

/// The names of docs/contract.md §10.
const NAMES: [&str; 19] = [
    "http_connections",
    "http_connections_limit",
    "http_connections_shed_total",
    "http_requests_total",
    "http_request_duration_seconds_count",
    "redis_pool_slots",
    "redis_pool_exhausted_total",
    "redis_command_duration_seconds_count",
    "circuit_breaker_state",
    "circuit_breaker_transitions_total",
    "rate_limit_decisions_total",
    "rate_limit_region_cold",
    "rate_limit_state_lost_total",
    "rate_limit_global_degraded_total",
    "scans_total",
    "audit_appends_total",
    "audit_append_duration_seconds_count",
    "audit_head_conflicts_total",
    "build_info",
];

/// The metrics of the process.
const PROCESS_NAMES: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_threads",
    "process_start_time_seconds",
];

async fn checks(app: &App) -> (u16, Vec<Value>) {
    let answer = app.get("/v1/ready").await;
    let body = answer.json();
    (answer.status, body["checks"].as_array().unwrap().clone())
}

fn names(checks: &[Value]) -> Vec<&str> {
    checks.iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn readiness_lists_each_dependency() {
    let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let (shop, limiter, global) =
        (Shop::open_in(redis).await, RedisServer::start().await, RedisServer::start().await);
    let (limiter_url, global_url) = (limiter.url(), global.url());
    let settings =
        [("RATE_LIMIT_REDIS_URL", limiter_url.as_str()), ("GLOBAL_REDIS_URL", global_url.as_str())];
    let app = open(&shop, &settings).await;
    let (status, rows) = checks(&app).await;
    assert_eq!(status, 200);
    assert_eq!(
        names(&rows),
        [
            "redis",
            "deployment",
            "audit",
            "audit_chain",
            "keyring",
            "storage",
            "limiter_redis",
            "global_redis"
        ]
    );
    assert!(rows.iter().all(|row| *row == json!({"name": row["name"], "ok": true})), "{rows:?}");
}

#[tokio::test]
async fn a_stopped_redis_makes_the_service_unready_and_is_named() {
    let mut shop = Shop::open().await;
    let app = open(&shop, &[("REDIS_COMMAND_TIMEOUT_MS", "500")]).await;
    shop.redis.kill();
    test_support::eventually("the service is not ready", crate::app::WAIT_LIMIT, || async {
        !app.is_ready().await
    })
    .await;
    let (status, rows) = checks(&app).await;
    assert_eq!(
        (status, rows[0]["name"].as_str(), rows[0]["ok"].as_bool()),
        (503, Some("redis"), Some(false))
    );
    app.get("/v1/ready").await.assert_problem(503, "not-ready");
    assert_eq!(app.get("/v1/health").await.status, 200);
}

#[tokio::test]
async fn storage_that_may_lose_data_is_a_warning_and_rejects_nothing() {
    let gauge =
        |concern: &str| format!("voketag_redis_storage_warnings{{pool=\"durable\",concern=\"{concern}\"}}");
    for (args, concern, word) in [
        (&["--appendonly", "yes", "--appendfsync", "everysec"][..], "fsync", "everysec"),
        (&["--appendonly", "no"], "fsync", "appendonly"),
        (
            &["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "allkeys-lru"],
            "eviction",
            "allkeys-lru",
        ),
    ] {
        let shop = Shop::open_in(RedisServer::start_with(args).await).await;
        let app = open(&shop, &[]).await;
        let (status, rows) = checks(&app).await;
        let storage = rows.iter().find(|row| row["name"] == "storage").unwrap();
        assert_eq!(
            (status, &storage["ok"], &storage["warn"]),
            (200, &json!(true), &json!(true)),
            "{storage}"
        );
        assert!(storage["detail"].as_str().unwrap().contains(word), "{storage}");
        assert_eq!(app.metric(&gauge(concern)).await, 1);
        assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    }
}

#[tokio::test]
async fn a_limiter_redis_that_may_evict_keys_is_a_warning_and_rejects_nothing() {
    let evicting = RedisServer::start_with(&["--maxmemory-policy", "volatile-lru"]).await;
    let (url, shop) = (evicting.url(), Shop::open().await);
    for (variable, name, pool) in
        [("RATE_LIMIT_REDIS_URL", "limiter_redis", "limiter"), ("GLOBAL_REDIS_URL", "global_redis", "global")]
    {
        // No readiness probe, because a probe also checks the state.
        let app = spawn(&[("REDIS_URL", shop.redis.url().as_str()), (variable, url.as_str())]).await;
        let gauge = |concern: &str| {
            format!("voketag_redis_storage_warnings{{pool=\"{pool}\",concern=\"{concern}\"}}")
        };
        test_support::eventually("the settings are read without a probe", crate::app::WAIT_LIMIT, || async {
            app.metrics().await.contains(&format!("{} 1", gauge("eviction")))
        })
        .await;
        app.until_ready().await;
        let (status, rows) = checks(&app).await;
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        assert_eq!((status, &row["ok"], &row["warn"]), (200, &json!(true), &json!(true)), "{row}");
        assert!(row["detail"].as_str().unwrap().contains("volatile-lru"), "{row}");
        assert_eq!(app.metric(&gauge("fsync")).await, 0, "a limiter may lose its data in a crash");
        assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    }
}

/// Sends one request of every kind, so that every series exists.
async fn exercise(app: &App, shop: &Shop) {
    let tag = shop.tag(0);
    assert_eq!(app.scan(&tag).await.status, 200);
    assert_eq!(app.scan(tag.crockford()).await.status, 200);
    assert_eq!(app.get(&format!("/v1/scan?tag_id={tag}")).await.status, 200);
    assert_eq!(app.get(&format!("/t/{tag}")).await.status, 200);
    let report = json!({"tag_id": tag.to_string(), "reason": "other"});
    assert_eq!(app.post_json("/v1/report", &report).await.status, 202);
    assert_eq!(app.scan("no-such-thing-ever").await.status, 400);
    assert_eq!(app.scan(shop.tag(SIZE)).await.status, 404);
    assert_eq!(app.get("/no/such/path/ever").await.status, 404);
    assert_eq!(send(app.request("ODDMETHOD".parse().unwrap(), "/v1/region")).await.status, 405);
}

#[tokio::test]
async fn metrics_have_every_name_and_never_a_tag_key_or_address() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    exercise(&app, &shop).await;
    let text = app.metrics().await;
    test_support::assert_sound_exposition(&text);
    // The values of process metrics may contain the digits of a port by chance.
    let (process, text): (Vec<&str>, Vec<&str>) =
        text.lines().filter(|line| !line.starts_with('#')).partition(|line| line.starts_with("process_"));
    let text = text.join("\n");
    for name in PROCESS_NAMES {
        assert!(process.iter().any(|line| line.starts_with(&format!("{name} "))), "no {name} in {process:?}");
    }
    for name in NAMES {
        let begins = |line: &str| {
            let rest = line.strip_prefix("voketag_").and_then(|line| line.strip_prefix(name));
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        assert!(text.lines().any(begins), "no {name} in\n{text}");
    }
    assert!(text.lines().all(|line| line.starts_with("voketag_")), "{text}");
    let lower = text.to_lowercase();
    for secret in [
        shop.tag(0).to_string(),
        shop.tag(0).crockford().to_lowercase(),
        shop.tag(SIZE).to_string(),
        shop.batch.id.to_string(),
        shop.product.id.to_string(),
        "127.0.0.1".to_owned(),
        SECRET.to_owned(),
        "no-such".to_owned(),
        "no/such".to_owned(),
        "oddmethod".to_owned(),
        shop.redis.port().to_string(),
    ] {
        assert!(!lower.contains(&secret), "{secret} is in\n{text}");
    }
    assert!(text.contains("route=\"/v1/scan/{tag_id}\""), "{text}");
    assert_eq!(
        app.get("/metrics").await.header("content-type").unwrap().split(';').next(),
        Some("text/plain")
    );
}

#[tokio::test]
async fn metrics_may_have_a_separate_address() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("METRICS_BIND_ADDR", "127.0.0.1:0")]).await;
    assert!(app.metrics_addr.is_some());
    app.get("/metrics").await.assert_problem(404, "not-found");
    app.get("/status").await.assert_problem(404, "not-found");
    let apart = format!("http://{}/status", app.metrics_addr.unwrap());
    assert_eq!(reqwest::get(apart).await.unwrap().status(), 200);
    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    assert_eq!(app.scans("active").await, 1);
}

/// The number in the legend is not checked: it depends on the time between two samples.
#[tokio::test]
async fn the_status_page_shows_traffic_and_each_pool_without_a_script() {
    let mut shop = Shop::open().await;
    let settings = [("COLD_START_SECS", "300"), ("REDIS_COMMAND_TIMEOUT_MS", "500")];
    let app = open(&shop, &settings).await;
    assert_eq!(app.scan(shop.tag(0)).await.status, 200);
    let answer = app.get("/status").await;
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.header("content-security-policy").unwrap().contains("style-src 'sha256-"));
    assert!(answer.text.contains("durable <b>closed</b>"), "{}", answer.text);
    assert!(answer.text.contains("limits <b>cold</b>"), "the region is new: {}", answer.text);
    assert!(!answer.text.contains("<script") && !answer.text.contains(&shop.tag(0).to_string()));
    // A sample is five seconds old at most, so the scan is in the last difference or in one before.
    assert!(answer.text.contains("median <b>") && answer.text.contains("all <b>"), "{}", answer.text);
    app.get("/status?x=1").await.assert_problem(400, "invalid-request");

    shop.redis.kill();
    let is_open = async || {
        app.scan(shop.tag(1)).await;
        app.get("/status").await.text.contains("durable <b>open</b>")
    };
    eventually("the page shows the open breaker", WAIT_LIMIT, is_open).await;
}

#[tokio::test]
async fn the_api_describes_exactly_its_routes() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let document = app.get("/openapi.json").await.verdict();
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            described.insert(format!("{method} {path}"));
        }
    }
    let expected = [
        "get /",
        "get /favicon.ico",
        "get /robots.txt",
        "get /v1/scan",
        "post /v1/scan",
        "get /v1/scan/{tag_id}",
        "post /v1/report",
        "get /v1/region",
        "get /v1/health",
        "get /v1/ready",
        "get /t/{tag_id}",
        "get /t/{tag_id}/report",
        "post /t/{tag_id}/report",
    ];
    assert_eq!(described, expected.map(str::to_owned).into());
    let answer = &document["components"]["schemas"]["ScanAnswer"]["properties"];
    let shown: BTreeSet<&String> = answer.as_object().unwrap().keys().collect();
    let verdict = app.scan(shop.tag(0)).await.verdict();
    assert_eq!(shown, verdict.as_object().unwrap().keys().collect(), "the document describes the response");
    test_support::assert_sound_document(&document);
    for page in [&document["paths"]["/t/{tag_id}"]["get"], &document["paths"]["/t/{tag_id}/report"]["post"]] {
        for header in ["RateLimit", "RateLimit-Policy", "Retry-After"] {
            assert!(page["responses"]["4XX"]["headers"][header].is_object(), "{header}");
        }
    }
    let form = &document["paths"]["/t/{tag_id}/report"]["get"]["responses"];
    assert!(
        form["4XX"].is_object() && form["4XX"]["headers"].is_null(),
        "a request for the form spends no quota"
    );
    for (path, method) in [("/v1/scan/{tag_id}", "get"), ("/v1/scan", "post"), ("/v1/report", "post")] {
        let responses = &document["paths"][path][method]["responses"];
        let good = if path == "/v1/report" { "202" } else { "200" };
        for status in [good, "401", "403", "404", "429", "500", "503"] {
            for header in ["RateLimit", "RateLimit-Policy"] {
                assert!(responses[status]["headers"][header].is_object(), "{method} {path}: {status}");
            }
        }
    }
}

#[tokio::test]
async fn the_policy_of_docs_allows_their_own_scripts() {
    let shop = Shop::open().await;
    let app = open_at(&shop.redis.url(), &[]).await;
    let plain = reqwest::Client::builder().redirect(Policy::none()).build().unwrap();
    let at_root = send(plain.get(app.url("/docs"))).await;
    assert!(matches!(at_root.status, 200 | 303 | 307 | 308), "{}", at_root.status);
    let page = app.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self'") && policy.contains("connect-src 'self'"), "{policy}");
    assert!(!policy.contains("script-src 'self' '"), "{policy}");
    let mut scripts = 0;
    for tag in page.text.split("<script").skip(1) {
        let (attributes, rest) = tag.split_once('>').unwrap();
        let (_, source) = attributes.split_once("src=\"").expect("the page has no inline script");
        let source = source.split_once('"').unwrap().0;
        assert!(rest.trim_start().starts_with("</script>"), "the page has no inline script");
        assert!(source.starts_with("./") || source.starts_with("/docs/"), "{source} is another origin's");
        let script =
            app.get(&format!("/docs/{}", source.trim_start_matches("./").trim_start_matches("/docs/"))).await;
        assert_eq!(script.status, 200, "{source}");
        assert!(script.header("content-type").unwrap().contains("javascript"), "{source}");
        assert_eq!(script.header("cache-control"), Some("public, max-age=31536000, immutable"), "{source}");
        scripts += 1;
    }
    assert!(scripts >= 2, "{}", page.text);
    assert_eq!(page.header("cache-control"), Some("public, max-age=60"));
    assert!(page.text.len() < 2_000, "{}", page.text);
    let start = app.get("/docs/swagger-initializer.js").await;
    assert_eq!(start.header("cache-control"), Some("public, max-age=60"), "its name has no hash");
    assert!(start.text.contains("/openapi.json"), "{}", start.text);
    app.get("/docs/no-such-file").await.assert_problem(404, "not-found");
}

#[tokio::test]
async fn the_documented_redis_permissions_are_sufficient() {
    let (shop, limiter, global) =
        (Shop::open().await, RedisServer::start().await, RedisServer::start().await);
    let partner = Partner::of(&shop).await;
    let url = shop.redis.with_documented_rights().await;
    let (limiter_url, global_url) =
        (limiter.with_documented_rights().await, global.with_documented_rights().await);
    let separate_redis =
        [("RATE_LIMIT_REDIS_URL", limiter_url.as_str()), ("GLOBAL_REDIS_URL", global_url.as_str())];
    for settings in [&[][..], &separate_redis] {
        let app = open_at(&url, settings).await;
        for _ in 0..2 {
            assert_eq!(app.scan(shop.tag(0)).await.status, 200);
            assert_eq!(partner.scan(&app, shop.tag(1)).await.status, 200);
        }
        let report = json!({"tag_id": shop.tag(0).to_string(), "reason": "other"});
        assert_eq!(app.post_json("/v1/report", &report).await.status, 202);
        assert_eq!(app.get("/v1/region").await.status, 200);
    }
    for redis in [&shop.redis, &limiter, &global] {
        assert_eq!(redis.refused_for_want_of_rights().await, []);
    }
}
