//! `bench baseline`: the least that a request costs on the server and behind the middleware of the services.
//!
//! `/constant` needs no Redis. `/ping` sends one `PING` through the pool of the services with their settings.
//! Both return the same bytes. Errors are those of the services: 429 without a permit, 503 if Redis is
//! unavailable.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_edge::{Edge, EdgeConfig, PathPolicy, ServeConfig};
use problems::ApiError;
use redis_pool::{PoolMetrics, RedisPool, RedisUrl};
use settings::{Env, LogSettings};
use tokio::net::TcpListener;

use crate::error::BenchError;

/// The default of the services (docs/contract.md §9).
const SLOTS: NonZeroUsize = NonZeroUsize::new(100).expect("not zero");
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");
const PATIENCE: Duration = Duration::from_millis(100);

/// Arguments of `bench baseline`.
#[derive(Debug, clap::Args)]
pub(crate) struct BaselineArgs {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:8099")]
    bind: SocketAddr,
    /// The Redis to ping.
    #[arg(long, default_value = "redis://127.0.0.1:6379")]
    redis: RedisUrl,
    /// The length of a response's body, as long as a scan's.
    #[arg(long, default_value = "640", value_parser = clap::value_parser!(u16).range(20..))]
    body_bytes: u16,
}

/// Creates a pool with the default settings of the services.
pub(crate) fn pool(
    name: &'static str,
    url: &RedisUrl,
    clock: &Arc<dyn Clock>,
    metrics: &PoolMetrics,
) -> RedisPool {
    let config = redis_pool::PoolConfig {
        name,
        url: url.clone(),
        permits: SLOTS,
        connections: CONNECTIONS,
        wait: PATIENCE,
        command_timeout: PATIENCE,
        open_for: redis_pool::OPEN_FOR,
    };
    RedisPool::new(config, Arc::clone(clock), metrics)
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Fails if the address is not available, or if the log cannot be set up.
pub(crate) async fn run(args: BaselineArgs) -> Result<(), BenchError> {
    let log = LogSettings::from_env(&Env::of_process(), "bench")
        .map_err(BenchError::unexpected("the log's settings"))?;
    let _log = log.set_up().map_err(BenchError::unexpected("the log"))?;
    let shutdown = http_edge::shutdown_signal().map_err(BenchError::io("cannot listen for signals"))?;
    let bind = args.bind;
    let listener =
        TcpListener::bind(bind).await.map_err(BenchError::io(format!("cannot listen on {bind}")))?;
    http_edge::serve(listener, router(&args), ServeConfig::default(), shutdown).await;
    Ok(())
}

fn router(args: &BaselineArgs) -> Router {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut registry = http_edge::metrics_registry();
    let pool = pool("baseline", &args.redis, &clock, &PoolMetrics::register(&mut registry));
    let body = body_of(usize::from(args.body_bytes));
    // Two path policies, one of which covers the path and sets a header, as in scan-service.
    let path_policies = vec![
        PathPolicy::new("/constant").header(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        PathPolicy::new("/ping").header(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    ];
    let edge = Edge::new(EdgeConfig::default(), path_policies, clock, &mut registry);
    let app = Router::new()
        .route("/constant", get(move || std::future::ready(json(body))))
        .route("/ping", get(move || ping(pool, body)));
    edge.wrap(app)
}

async fn ping(pool: RedisPool, body: &'static str) -> Response {
    match pool.command(redis::cmd("PING")).await {
        Ok(_) => json(body),
        Err(error) => ApiError::from(error).into_response(),
    }
}

fn json(body: &'static str) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// Returns a JSON object of that many bytes. It lives as long as the process, so that a response copies
/// nothing.
fn body_of(bytes: usize) -> &'static str {
    const FRAME: usize = r#"{"pad":""}"#.len();
    Box::leak(format!(r#"{{"pad":"{}"}}"#, "x".repeat(bytes.saturating_sub(FRAME))).into_boxed_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{self, HttpRequest};

    #[test]
    fn the_body_is_json_of_the_length_asked_for() {
        for bytes in [20, 640] {
            let body = body_of(bytes);
            assert_eq!(body.len(), bytes);
            assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
        }
    }

    #[tokio::test]
    async fn both_answers_are_the_same_and_a_dead_redis_is_a_503() {
        let mut redis = test_support::RedisServer::start().await;
        let args = BaselineArgs {
            bind: "127.0.0.1:0".parse().unwrap(),
            redis: redis.url().parse().unwrap(),
            body_bytes: 300,
        };
        let listener = TcpListener::bind(args.bind).await.unwrap();
        let target = listener.local_addr().unwrap();
        let app = router(&args);
        tokio::spawn(http_edge::serve(listener, app, ServeConfig::default(), std::future::pending()));
        let get = |path| http::ask(target, HttpRequest::get(path));
        let (constant, ping) = (get("/constant").await.unwrap(), get("/ping").await.unwrap());
        assert_eq!((constant.status, constant.body.len()), (200, 300));
        assert_eq!((ping.status, &ping.body), (200, &constant.body));
        redis.kill();
        assert_eq!(get("/ping").await.unwrap().status, 503);
        assert_eq!(get("/constant").await.unwrap().status, 200);
    }
}
