//! The cost of the edge's one layer beside six layers of `tower-http`, for docs/adr/0007.
//!
//! ```text
//! cargo bench -p http-edge --bench layers
//! ```
//!
//! `call` is one request to a route that answers a constant JSON object, without a connection. `connection`
//! is the same over TCP: a client writes 64 requests at once and reads 64 responses. Divide by 64 for the
//! cost of one.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::routing::get;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http_edge::{Edge, EdgeConfig, PathPolicy, ServeConfig, metrics_registry, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Service, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

const PIPELINED: usize = 64;
const REQUEST: &str = "GET /v1/item/7 HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer x\r\n\r\n";

async fn item() -> impl axum::response::IntoResponse {
    ([(CONTENT_TYPE, "application/json")], r#"{"valid":true,"lifecycle":"active"}"#)
}

fn bare() -> Router {
    Router::new().route("/v1/item/{id}", get(item))
}

fn with_edge() -> Router {
    let clock = Arc::new(ambient::SystemClock::new());
    let path_policies = vec![PathPolicy::new("/t"), PathPolicy::new("/v1/scan"), PathPolicy::new("/docs")];
    Edge::new(EdgeConfig::default(), path_policies, clock, &mut metrics_registry()).wrap(bare())
}

/// What the edge does in part; problem documents, metrics and default headers would still need a layer of
/// their own.
fn with_tower_http() -> Router {
    let layers = ServiceBuilder::new()
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]))
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(TraceLayer::new_for_http())
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(CatchPanicLayer::new())
        .layer(RequestBodyLimitLayer::new(64 * 1024))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, Duration::from_secs(10)));
    bare().layer(layers)
}

fn apps() -> [(&'static str, Router); 3] {
    [("router alone", bare()), ("edge", with_edge()), ("tower-http", with_tower_http())]
}

fn request() -> Request {
    let request = Request::get("/v1/item/7").header("host", "127.0.0.1").header(AUTHORIZATION, "Bearer x");
    request.body(Body::empty()).expect("a request")
}

async fn called(app: &mut Router) {
    let response: Result<_, Infallible> = app.call(request()).await;
    let Ok(response) = response;
    assert_eq!(response.status(), StatusCode::OK);
    black_box(response);
}

fn call(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = c.benchmark_group("call");
    for (name, app) in apps() {
        let app = std::cell::RefCell::new(app);
        group.bench_function(name, |b| b.iter(|| runtime.block_on(called(&mut app.borrow_mut()))));
    }
    group.finish();
}

/// Sends the requests in one write and reads until as many responses have arrived.
async fn round(stream: &mut TcpStream, requests: &[u8], buffer: &mut [u8]) {
    stream.write_all(requests).await.expect("the server reads");
    let mut seen = 0;
    while seen < PIPELINED {
        let read = stream.read(buffer).await.expect("the server answers");
        assert!(read > 0, "the server closed the connection");
        seen += buffer[..read].iter().filter(|&&byte| byte == b'}').count();
    }
}

fn connection(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let requests = REQUEST.repeat(PIPELINED);
    let mut group = c.benchmark_group("connection");
    group.throughput(Throughput::Elements(PIPELINED as u64));
    for (name, app) in apps() {
        let mut stream = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            tokio::spawn(serve(listener, app, ServeConfig::default(), std::future::pending::<()>()));
            TcpStream::connect(address).await.expect("a connection")
        });
        let mut buffer = vec![0; 64 * 1024];
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| runtime.block_on(round(&mut stream, requests.as_bytes(), &mut buffer)));
        });
    }
    group.finish();
}

criterion_group!(benches, call, connection);
criterion_main!(benches);
