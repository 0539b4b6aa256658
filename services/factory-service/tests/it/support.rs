//! Starts a factory on a free port, with a client that sends its API key.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ambient::SystemClock;
use factory_service::settings::FactorySettings;
use factory_service::startup::assemble;
use http_edge::App;
use http_edge::ServeConfig;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use test_support::{FaultProxy, RedisServer, eventually};
use tokio::task::AbortHandle;

pub(crate) const KEY: &str = "the-key-of-the-tests-0123456789abcdef";
pub(crate) const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// A tag id of epoch 1 that was minted under another secret.
pub(crate) const FORGED: &str = "528c99ab-b4be-8001-ad49-a0bb627246c9";
/// The value that removes a setting.
pub(crate) const UNSET: &str = "(unset)";
/// Returns how often a test repeats a check: `usually`, or `VOKETAG_TEST_ROUNDS` if it is set.
#[allow(clippy::disallowed_methods, reason = "the person who runs a test chooses its length")]
pub(crate) fn rounds(usually: u64) -> u64 {
    std::env::var("VOKETAG_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usually)
}

/// The deadline of a wait. It is generous because all tests share two cores.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A factory that serves until it is dropped.
pub(crate) struct Factory {
    pub(crate) base: String,
    pub(crate) client: reqwest::Client,
    pub(crate) app: App,
    serving: AbortHandle,
}

impl Drop for Factory {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// Returns the answer's JSON and checks that each instant in it has three decimals.
    pub(crate) fn json(&self) -> Value {
        let answer = serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        test_support::assert_uniform_timestamps(&answer);
        answer
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }

    /// Checks the status and returns the JSON.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }

    /// Checks that the answer is this problem and returns its detail.
    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16, slug: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header(CONTENT_TYPE.as_str()), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:voketag:problem:{slug}"), "{problem}");
        assert_eq!(problem["error"], slug.replace('-', "_"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        assert!(problem["title"].is_string());
        problem["detail"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap() }
}

impl Factory {
    /// Starts a factory without waiting until it is ready: its Redis may be unavailable.
    pub(crate) async fn begin(redis_url: &str, more: &[(&str, &str)]) -> Self {
        let settings = [
            ("REDIS_URL", redis_url),
            ("FACTORY_API_KEY", KEY),
            ("TAG_MASTER_SECRET", SECRET),
            ("PUBLIC_BASE_URL", "https://v.example"),
            // Generous, because all tests share two cores. Other tests cover the deadlines.
            ("REDIS_COMMAND_TIMEOUT_MS", "5000"),
            ("REDIS_POOL_WAIT_MS", "5000"),
            // High, because other tests cover the limits.
            ("RATE_LIMIT_FACTORY_WRITES_PER_MINUTE", "1000000"),
            ("RATE_LIMIT_FACTORY_READS_PER_MINUTE", "1000000"),
            ("RATE_LIMIT_FACTORY_AUTH_FAILURES_PER_MINUTE", "1000000"),
        ];
        let env = settings.into_iter().chain(more.iter().copied());
        let env = env.filter(|(name, _)| !more.contains(&(*name, UNSET))).collect();
        let settings = FactorySettings::from_env(&env).unwrap();
        let app = assemble(&settings, Arc::new(SystemClock::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let router = app.router.clone();
        let serving =
            tokio::spawn(http_edge::serve(listener, router, ServeConfig::default(), std::future::pending()));
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base: format!("http://{address}"), client, app, serving: serving.abort_handle() }
    }

    /// Starts a factory and waits until it is ready.
    pub(crate) async fn start(redis_url: &str, more: &[(&str, &str)]) -> Self {
        let factory = Self::begin(redis_url, more).await;
        factory.until_ready().await;
        factory
    }

    pub(crate) async fn until_ready(&self) {
        eventually("the factory is ready", SOON, || async { self.get("/v1/ready").await.status == 200 })
            .await;
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(KEY)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await
    }

    /// Returns the value of one series, named as in the Prometheus exposition.
    pub(crate) async fn metric(&self, series: &str) -> String {
        let shown = self.get("/metrics").await.text;
        let value = shown.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {series} in\n{shown}")).to_owned()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        answer(self.request(Method::PATCH, path).json(body)).await
    }

    /// Creates a product and returns its id.
    pub(crate) async fn product(&self) -> String {
        let made = self.post("/v1/products", &json!({"name": "Rain jacket", "brand": "Northern"})).await;
        made.expect(201)["id"].as_str().unwrap().to_owned()
    }

    /// Creates a product and mints a batch of it.
    pub(crate) async fn batch(&self, size: u32) -> Value {
        let product = self.product().await;
        self.post("/v1/batches", &json!({"product_id": product, "size": size})).await.expect(201)
    }

    /// Returns a batch's tags from its export.
    pub(crate) async fn tags(&self, batch: &Value, query: &str) -> Vec<Value> {
        let export = self.get(&format!("/v1/batches/{}/tags{query}", text(&batch["id"]))).await;
        assert_eq!(export.status, 200, "{export:?}");
        export.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns all events of the chain.
    pub(crate) async fn events(&self) -> Vec<Value> {
        let page = self.get("/v1/audit/events?limit=1000").await.expect(200);
        assert!(page.get("next").is_none(), "more than one page of events");
        page["events"].as_array().unwrap().iter().map(|entry| entry["event"].clone()).collect()
    }

    /// Returns action and resource of each event.
    pub(crate) async fn history(&self) -> Vec<(String, String)> {
        let events = self.events().await;
        events.iter().map(|event| (text(&event["action"]), text(&event["resource"]))).collect()
    }

    /// Verifies the whole chain, which must have `size` entries.
    pub(crate) async fn assert_chain_of(&self, size: u64) {
        let report = answer(self.request(Method::POST, "/v1/audit/verify")).await.expect(200);
        assert_eq!(report["ok"], true, "{report}");
        assert_eq!((&report["checked"], &report["size"]), (&json!(size), &json!(size)));
    }
}

/// Starts a factory and its Redis.
pub(crate) async fn start() -> (RedisServer, Factory) {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[]).await;
    (redis, factory)
}

/// Starts a factory whose connection to Redis can be delayed by [`SLOWLY`], so that requests sent together
/// all read before any of them writes.
pub(crate) async fn start_behind_proxy() -> (RedisServer, FaultProxy, Factory) {
    let redis = RedisServer::start().await;
    let proxy = FaultProxy::start(redis.addr()).await;
    let factory = Factory::start(&proxy.url(), &[]).await;
    (redis, proxy, factory)
}

/// The delay of each direction, see [`start_behind_proxy`].
pub(crate) const SLOWLY: Duration = Duration::from_millis(100);

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no string")).to_owned()
}

/// Returns all keys of VokeTag in a Redis.
pub(crate) async fn stored_keys(redis: &RedisServer) -> Vec<String> {
    redis::cmd("KEYS").arg("vt1:*").query_async(&mut redis.connection().await).await.unwrap()
}
