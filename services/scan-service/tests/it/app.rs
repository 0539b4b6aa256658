//! Starts the service on a free port, and sends requests to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use http_edge::ServeConfig;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use scan_service::settings::ScanSettings;
use serde_json::Value;
use settings::Env;
use test_support::eventually;
use tokio::net::TcpListener;

use crate::shop::{SECRET, Shop};

/// The time limit of every wait in a test.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// The `User-Agent` of a phone, so that tests about other things see no risk.
pub(crate) const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15";

/// A warm region, and timeouts that a busy machine does not reach. A test overrides what it tests.
const DEFAULTS: [(&str, &str); 4] = [
    ("TAG_MASTER_SECRET", SECRET),
    ("COLD_START_SECS", "0"),
    ("REDIS_POOL_WAIT_MS", "10000"),
    ("REDIS_COMMAND_TIMEOUT_MS", "10000"),
];

pub(crate) struct App {
    pub(crate) addr: SocketAddr,
    pub(crate) metrics_addr: Option<SocketAddr>,
    pub(crate) client: Client,
    _assembled: http_edge::App,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// One row of `RateLimit-Policy` and the row of the same name of `RateLimit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) name: String,
    pub(crate) quota: u64,
    pub(crate) window: u64,
    pub(crate) remaining: u64,
    pub(crate) reset_after: u64,
}

/// Starts the service with the defaults of these tests and `settings`.
pub(crate) async fn spawn(settings: &[(&str, &str)]) -> App {
    spawn_with_clock(settings, Arc::new(SystemClock::new())).await
}

pub(crate) async fn spawn_with_clock(settings: &[(&str, &str)], clock: Arc<dyn Clock>) -> App {
    let env: Env = DEFAULTS.iter().chain(settings).copied().collect();
    let settings = ScanSettings::from_env(&env).unwrap();
    let mut assembled = scan_service::startup::assemble(&settings, clock);
    let addr = serve(assembled.router.clone()).await;
    let metrics_addr = match assembled.metrics.take() {
        Some(router) => Some(serve(router).await),
        None => None,
    };
    let client = Client::builder().user_agent(PHONE).timeout(WAIT_LIMIT).build().unwrap();
    App { addr, metrics_addr, client, _assembled: assembled }
}

/// Starts the service over `shop`, and waits until it has read the deployment.
pub(crate) async fn open(shop: &Shop, settings: &[(&str, &str)]) -> App {
    open_at(&shop.redis.url(), settings).await
}

pub(crate) async fn open_at(redis_url: &str, settings: &[(&str, &str)]) -> App {
    let settings: Vec<_> = [("REDIS_URL", redis_url)].into_iter().chain(settings.iter().copied()).collect();
    let app = spawn(&settings).await;
    app.until_ready().await;
    app
}

async fn serve(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(http_edge::serve(listener, router, ServeConfig::default(), std::future::pending()));
    addr
}

impl App {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn scan(&self, tag: impl std::fmt::Display) -> Answer {
        self.get(&format!("/v1/scan/{tag}")).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        send(self.request(Method::POST, path).form(fields)).await
    }

    pub(crate) async fn is_ready(&self) -> bool {
        self.get("/v1/ready").await.status == 200
    }

    pub(crate) async fn until_ready(&self) {
        eventually("the service is ready", WAIT_LIMIT, || self.is_ready()).await;
    }

    /// Waits until the service uses that revision of the keyring.
    pub(crate) async fn until_keyring_revision(&self, revision: u32) {
        let in_use = async || self.metric("voketag_keyring_revision").await >= u64::from(revision);
        eventually("the keyring revision is in use", WAIT_LIMIT, in_use).await;
    }

    pub(crate) async fn metrics(&self) -> String {
        let addr = self.metrics_addr.unwrap_or(self.addr);
        send(self.client.get(format!("http://{addr}/metrics"))).await.text
    }

    /// Returns the value of one series, named as Prometheus shows it.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        let text = self.metrics().await;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
    }

    /// Returns the number of scans with this outcome, counted or not.
    pub(crate) async fn scans(&self, outcome: &str) -> u64 {
        self.scans_counted(outcome, true).await + self.scans_counted(outcome, false).await
    }

    pub(crate) async fn scans_counted(&self, outcome: &str, counted: bool) -> u64 {
        let series = format!("voketag_scans_total{{outcome=\"{outcome}\",counted=\"{counted}\"}}");
        self.metric(&series).await
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap() }
}

impl Answer {
    /// Returns the JSON of the response, and checks that each instant in it has three decimals.
    pub(crate) fn json(&self) -> Value {
        let answer =
            serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text));
        test_support::assert_uniform_timestamps(&answer);
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        assert!(self.headers.get_all(name).iter().count() < 2, "{name} occurs twice");
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn retry_after(&self) -> u64 {
        self.header("retry-after").expect("there is a Retry-After").parse().unwrap()
    }

    /// Checks that the response is 200, and returns its JSON.
    #[track_caller]
    pub(crate) fn verdict(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// Checks what docs/contract.md §5 specifies for every error.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, slug: &str) {
        assert_eq!(self.status, status, "{slug}: {}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
        let body = self.json();
        assert_eq!(body["type"], format!("urn:voketag:problem:{slug}"), "{}", self.text);
        assert_eq!(body["status"], status);
        assert_eq!(body["error"], slug.replace('-', "_"));
        assert!(body["title"].as_str().is_some_and(|text| !text.is_empty()), "{}", self.text);
        assert!(body["detail"].as_str().is_some_and(|text| !text.is_empty()), "{}", self.text);
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let retryable = matches!(status, 429 | 503);
        assert_eq!(self.headers.contains_key("retry-after"), retryable, "{slug}");
    }

    /// Checks that the response is an error page with this status.
    #[track_caller]
    pub(crate) fn assert_page(&self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("text/html; charset=utf-8"), "{}", self.text);
        assert!(self.text.starts_with("<!doctype html>"), "{}", self.text);
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert!(!self.text.contains("<script"), "{}", self.text);
    }

    pub(crate) fn has_rate(&self) -> bool {
        let (policy, state) =
            (self.headers.contains_key("ratelimit-policy"), self.headers.contains_key("ratelimit"));
        assert_eq!(policy, state, "both or neither");
        policy
    }

    /// Parses the rows of both headers as strictly as the draft specifies.
    #[track_caller]
    pub(crate) fn rates(&self) -> Vec<Rate> {
        let policy = self.header("ratelimit-policy").expect("there is a RateLimit-Policy").split(", ");
        let state = self.header("ratelimit").expect("there is a RateLimit").split(", ");
        let rows: Vec<Rate> = policy
            .zip(state)
            .map(|(policy, state)| {
                let (name, quota, window) = row(policy, "q", "w");
                let (same, remaining, reset_after) = row(state, "r", "t");
                assert_eq!(name, same);
                Rate { name, quota, window, remaining, reset_after }
            })
            .collect();
        assert!(!rows.is_empty());
        rows
    }

    /// Returns the row of the client's address.
    #[track_caller]
    pub(crate) fn rate(&self) -> Rate {
        let rows = self.rates();
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!(rows[0].name, "ip");
        rows[0].clone()
    }
}

/// `"name";first=1;second=2`.
#[track_caller]
fn row(text: &str, first: &str, second: &str) -> (String, u64, u64) {
    let (name, parameters) = text.strip_prefix('"').and_then(|rest| rest.split_once("\";")).expect(text);
    let (one, two) = parameters.split_once(';').expect(text);
    let number = |text: &str, key: &str| {
        let digits = text.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')).expect(text);
        digits.parse().expect(text)
    };
    (name.to_owned(), number(one, first), number(two, second))
}
