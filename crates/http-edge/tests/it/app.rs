//! A small app with one route per feature of the edge, and helpers to send requests to it.

use ambient::SystemClock;
use axum::Router;
use axum::body::Body;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use http::{HeaderMap, HeaderValue};
use http_edge::{
    ApiBytes, ApiForm, ApiJson, ApiPath, ApiQuery, Check, Drained, Edge, EdgeConfig, HttpError, PathPolicy,
    PeerAddr, Problem, Readiness, RequestId, ServeConfig, metrics_registry, metrics_route, serve,
};
use serde::Deserialize;
use serde_json::Value;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use test_support::CapturedLog;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use utoipa::{IntoParams, ToSchema};

/// The time limit of every wait in a test.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A short time limit for what a test provokes.
pub(crate) const SHORT: Duration = Duration::from_millis(200);

pub(crate) struct App {
    pub(crate) addr: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Drained>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Item {
    #[schema(example = "bolt")]
    name: String,
    size: u32,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Page {
    cursor: Option<String>,
    #[param(minimum = 1, maximum = 100, example = 50)]
    limit: Option<u8>,
}

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/ok", get(|| async { "fine" }))
        .route(
            "/json",
            post(|ApiJson(item): ApiJson<Item>| async move { format!("{} {}", item.name, item.size) }),
        )
        .route(
            "/form",
            post(|ApiForm(item): ApiForm<Item>| async move { format!("{} {}", item.name, item.size) }),
        )
        .route(
            "/query",
            get(
                |ApiQuery(page): ApiQuery<Page>| async move { format!("{:?} {:?}", page.cursor, page.limit) },
            ),
        )
        .route("/items/{id}", get(|ApiPath(id): ApiPath<u32>| async move { id.to_string() }))
        .route("/echo", post(|ApiBytes(bytes): ApiBytes| async move { bytes }))
        .route("/axum", post(|bytes: Bytes| async move { bytes }))
        .route("/axum-json", post(|item: axum::Json<Item>| async move { item.0.name }))
        .route("/ignores-its-body", post(|| async { "fine" }))
        .route("/panic", get(panics))
        .route("/internal", get(|| async { HttpError::internal("the password is hunter2") }))
        .route("/busy", get(|| async { HttpError::service_overloaded(3) }))
        .route("/unauthenticated", get(|| async { HttpError::Unauthenticated("no key".into()) }))
        .route("/never", get(pending::<()>))
        .route("/pages/never", get(pending::<()>))
        .route("/pages/panic", get(panics))
        .route(
            "/pages/{id}",
            get(|| async { ([("retry-after", "9"), ("content-length", "5")], no_such_item()) }),
        )
        .route("/open/never", get(pending::<()>))
        .route("/named/never", get(pending::<()>))
        .route("/own-headers", get(own_headers))
        .route("/own-html-404", get(|| async { (http::StatusCode::NOT_FOUND, Html("<p>mine</p>")) }))
        .route("/peer", get(|PeerAddr(peer): PeerAddr| async move { peer.to_string() }))
        .route("/id", get(|id: RequestId| async move { id.to_string() }))
        .route("/headers", get(|headers: HeaderMap| async move { format!("{headers:?}") }))
        .route(
            "/ready",
            get(|| async { Readiness::of(vec![Check::ok("redis"), Check::warning("eviction", "weak")]) }),
        )
        .route(
            "/unready",
            get(|| async { Readiness::of(vec![Check::failed("redis", "unavailable"), Check::ok("region")]) }),
        )
}

async fn panics() -> &'static str {
    tokio::task::yield_now().await;
    panic!("the password is hunter2")
}

async fn own_headers() -> Response {
    ([(CONTENT_SECURITY_POLICY, "default-src 'self'"), (CACHE_CONTROL, "max-age=60")], "fine").into_response()
}

/// A problem that a product defines.
fn no_such_item() -> Problem {
    Problem::new(
        http::StatusCode::NOT_FOUND,
        "item-not-found",
        "No such item",
        "there is no item with this id",
    )
}

fn page(problem: &Problem, request_id: &RequestId) -> Response {
    Html(format!("<h1>{}</h1><p>{request_id}</p>", problem.title())).into_response()
}

pub(crate) fn path_policies() -> Vec<PathPolicy> {
    vec![
        PathPolicy::new("/pages").render_problems_with(page),
        PathPolicy::new("/named").readable_from(vec![HeaderValue::from_static("https://a.example")]),
        PathPolicy::new("/open").header(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    ]
}

impl App {
    pub(crate) async fn spawn() -> Self {
        Self::spawn_with(routes(), EdgeConfig::default(), ServeConfig::default()).await
    }

    pub(crate) async fn spawn_with(router: Router, edge: EdgeConfig, server: ServeConfig) -> Self {
        CapturedLog::install("info,access=debug");
        let mut registry = metrics_registry();
        let edge = Edge::new(edge, path_policies(), Arc::new(SystemClock::new()), &mut registry);
        let router = edge.wrap(router.route("/metrics", metrics_route(Arc::new(registry))));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let served = tokio::spawn(serve(listener, router, server, shutdown));
        Self { addr, stop, served }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        within(reqwest::get(self.url(path))).await.unwrap()
    }

    pub(crate) async fn post(
        &self,
        path: &str,
        media_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Response {
        let request =
            reqwest::Client::new().post(self.url(path)).header("content-type", media_type).body(body);
        within(request.send()).await.unwrap()
    }

    /// Opens a connection and sends `bytes`.
    pub(crate) async fn sent(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// Sends `bytes` and reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        to_end(&mut self.sent(bytes).await).await
    }

    /// Starts the shutdown of the server.
    pub(crate) fn stop(self) -> JoinHandle<Drained> {
        self.stop.send(()).unwrap();
        self.served
    }
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("the time limit of the test")
}

pub(crate) async fn to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads one response with a `Content-Length`. The connection stays open.
pub(crate) async fn one_response(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return text;
            }
        }
        let mut chunk = [0; 4096];
        let read = within(stream.read(&mut chunk)).await.unwrap();
        assert!(read > 0, "the server closed in the middle of {text:?}");
        text.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
    }
}

/// Checks what holds for every problem document, and returns it.
pub(crate) async fn problem(response: reqwest::Response, status: u16, slug: &str) -> Value {
    let headers = response.headers().clone();
    assert_eq!(response.status().as_u16(), status);
    let text = response.text().await.unwrap();
    assert_eq!(headers["content-type"], "application/problem+json", "{text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["type"], format!("urn:voketag:problem:{slug}"));
    assert_eq!(document["error"], slug.replace('-', "_"));
    assert_eq!(document["status"], status);
    assert_eq!(document["request_id"], headers["x-request-id"].to_str().unwrap());
    assert!(document["title"].is_string() && document["detail"].is_string());
    document
}

/// A body that repeats `chunk` for ever. Dropping it drops `held`.
pub(crate) fn endless(chunk: &'static [u8], held: oneshot::Sender<()>) -> Body {
    let chunks = futures_util::stream::repeat_with(move || {
        let _ = &held;
        Ok::<_, std::convert::Infallible>(Bytes::from_static(chunk))
    });
    Body::from_stream(chunks)
}
