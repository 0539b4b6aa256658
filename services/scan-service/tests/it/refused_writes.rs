//! Each Redis of this service may reject writes: requests get a reason and a `Retry-After`, readiness names
//! the server, and the service recovers without a restart.

use ambient::{Clock, SystemClock};
use redis_pool::RedisUrl;
use serde_json::{Value, json};
use test_support::{RedisServer, WriteRefusal, eventually};

use crate::app::{App, WAIT_LIMIT, open_at};
use crate::process::Program;
use crate::shop::{SECRET, Shop};

const SHORT_TIMEOUT: (&str, &str) = ("REDIS_COMMAND_TIMEOUT_MS", "1000");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Durable,
    Limiter,
    /// The process itself limits meanwhile.
    LimiterWithLocal,
    Global,
}

impl Place {
    const ALL: [Self; 4] = [Self::Durable, Self::Limiter, Self::LimiterWithLocal, Self::Global];

    fn check(self) -> &'static str {
        match self {
            Self::Durable => "redis",
            Self::Limiter | Self::LimiterWithLocal => "limiter_redis",
            Self::Global => "global_redis",
        }
    }

    fn is_needed(self) -> bool {
        matches!(self, Self::Durable | Self::Limiter)
    }
}

async fn row(app: &App, name: &str) -> (u16, Value) {
    let answer = app.get("/v1/ready").await;
    let body = answer.json();
    let row = body["checks"].as_array().unwrap().iter().find(|row| row["name"] == name);
    (answer.status, row.unwrap_or_else(|| panic!("no {name} in {body}")).clone())
}

async fn in_state(place: Place, refusal: WriteRefusal) {
    let (shop, other) = (Shop::open().await, RedisServer::start().await);
    let (durable, other_url) =
        (shop.redis.with_documented_rights().await, other.with_documented_rights().await);
    let _: RedisUrl = other_url.parse().unwrap();
    let mut settings = vec![SHORT_TIMEOUT, ("RATE_LIMIT_IP_PER_MINUTE", "100000")];
    match place {
        Place::Durable => {}
        Place::Limiter => settings.push(("RATE_LIMIT_REDIS_URL", &other_url)),
        Place::LimiterWithLocal => {
            settings.extend([
                ("RATE_LIMIT_REDIS_URL", other_url.as_str()),
                ("RATE_LIMIT_ON_REDIS_DOWN", "local"),
            ]);
        }
        Place::Global => settings.push(("GLOBAL_REDIS_URL", &other_url)),
    }
    let app = open_at(&durable, &settings).await;
    assert_eq!(app.scan(shop.tag(0)).await.status, 200, "{place:?} {refusal:?}");
    let broken = if place == Place::Durable { &shop.redis } else { &other };
    refusal.begin(broken).await;
    let clock = SystemClock::new();
    // A test of redis-pool checks that the recovery is noticed within the documented five seconds.
    eventually("readiness names the code", WAIT_LIMIT, async || {
        let (status, row) = row(&app, place.check()).await;
        let named = row["detail"].as_str().is_some_and(|detail| detail.contains(refusal.code()));
        named
            && (status, &row["ok"])
                == if place.is_needed() { (503, &json!(false)) } else { (200, &json!(true)) }
    })
    .await;
    let named_after = clock.monotonic();
    println!("{place:?} {}: named in readiness after {} ms", refusal.code(), named_after.as_millis());
    for _ in 0..20 {
        let scan = app.scan(shop.tag(0)).await;
        if place.is_needed() {
            scan.assert_problem(503, "redis-unavailable");
            assert!(scan.retry_after() > 0);
        } else {
            assert_eq!(scan.status, 200, "{}", scan.text);
        }
        let (status, row) = row(&app, place.check()).await;
        assert_eq!(status == 503, place.is_needed(), "{place:?}: {row}");
        assert!(row["detail"].as_str().unwrap().contains(refusal.code()), "at every probe: {row}");
    }
    refusal.end(broken).await;
    eventually("the service has recovered", WAIT_LIMIT, async || {
        let (status, row) = row(&app, place.check()).await;
        let named = row["detail"].as_str().is_some_and(|detail| detail.contains(refusal.code()));
        status == 200 && !named && app.scan(shop.tag(0)).await.status == 200
    })
    .await;
    let pool = place.check().trim_end_matches("_redis").replace("redis", "durable");
    let counted = format!("voketag_redis_errors_total{{pool=\"{pool}\",code=\"{}\"}}", refusal.code());
    assert!(app.metric(&counted).await > 0);
}

async fn in_each_state(place: Place) {
    let states = WriteRefusal::ALL.map(|refusal| tokio::spawn(in_state(place, refusal)));
    for state in states {
        state.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_redis_that_rejects_writes_is_reported_until_it_recovers() {
    in_each_state(Place::ALL[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limiter_redis_that_rejects_writes_is_reported_until_it_recovers() {
    in_each_state(Place::ALL[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limiter_redis_that_rejects_writes_is_reported_while_the_process_limits() {
    in_each_state(Place::ALL[2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_global_redis_that_rejects_writes_is_reported_while_only_the_region_limits() {
    in_each_state(Place::ALL[3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_episode_is_logged_as_one_warning_with_the_code_and_one_end() {
    let shop = Shop::open().await;
    let url = shop.redis.with_documented_rights().await;
    let settings = [("TAG_MASTER_SECRET", SECRET), ("REDIS_URL", url.as_str()), SHORT_TIMEOUT];
    let mut program = Program::start(&settings).await;
    let ready = format!("http://{}/v1/ready", program.bind);
    let ask = async || {
        let answer = reqwest::get(&ready).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    eventually("the service is ready", WAIT_LIMIT, async || ask().await.0 == 200).await;
    for refusal in WriteRefusal::ALL {
        refusal.begin(&shop.redis).await;
        eventually("readiness names the code", WAIT_LIMIT, async || ask().await.1.contains(refusal.code()))
            .await;
        for _ in 0..20 {
            let scan = format!("http://{}/v1/scan/{}", program.bind, shop.tag(0));
            assert_eq!(reqwest::get(scan).await.unwrap().status().as_u16(), 503);
        }
        refusal.end(&shop.redis).await;
        eventually("the service has recovered", WAIT_LIMIT, async || ask().await.0 == 200).await;
    }
    let log = program.stop().await;
    for refusal in WriteRefusal::ALL {
        let logged = |level: &str, pool: &str| {
            let of_pool = |line: &&str| {
                line.contains(refusal.code())
                    && line.contains(level)
                    && line.contains(&format!("\"pool\":\"{pool}\""))
            };
            log.lines().filter(of_pool).map(str::to_owned).collect::<Vec<_>>()
        };
        let (warnings, ends) = (logged("WARN", "durable"), logged("INFO", "durable"));
        assert!(warnings.len() == 1, "{refusal:?}: {warnings:?}");
        assert!(warnings[0].contains("redis refuses writes"), "{refusal:?}: {warnings:?}");
        let ends: Vec<_> = ends.iter().filter(|line| line.contains("redis takes writes again")).collect();
        assert_eq!(ends.len(), 1, "{refusal:?}: {ends:?}");
        // The second pool on the same Redis may not have tried a write meanwhile.
        assert!(logged("WARN", "keyring").len() <= 1, "{refusal:?}: {log}");
    }
}
