//! A rate limit with cold start in front of an axum route.
//!
//! ```text
//! redis-server --port 6390 --save '' &
//! cargo run -p rate-limiter --example cold_start_in_axum redis://127.0.0.1:6390
//! for i in $(seq 7); do curl -i http://127.0.0.1:8099/; done
//! ```
//!
//! The limit is 10 requests per minute and address. The region is new, so half of it is in force for five
//! minutes: the sixth request is 429 with `Retry-After`. `redis-cli -p 6390 flushall` does not help a caller,
//! because a region without a birth record is cold again.

use std::error::Error;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use rate_limiter::{
    ColdStart, Decision, Dimension, DimensionName, Factor, Limiter, LimiterMetrics, Quota, Region,
};
use redis_pool::{PoolConfig, PoolMetrics, RedisPool};

const ADDRESS: &str = "127.0.0.1:8099";

struct Limit {
    limiter: Limiter,
    per_minute: Quota,
}

/// Lets a request pass if its address has quota left. Without Redis nothing passes: the limiter fails closed.
async fn limited(
    State(limit): State<Arc<Limit>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let address = peer.ip().to_string();
    let dimension = Dimension { name: DimensionName::Ip, subject: &address, quota: limit.per_minute };
    match limit.limiter.decide(&[dimension]).await {
        Ok(Decision::Allowed { .. }) => next.run(request).await,
        Ok(Decision::Denied { retry_after, .. }) => {
            let seconds = retry_after.as_millis().div_ceil(1_000).to_string();
            (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, seconds)], "too many requests\n").into_response()
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let config = PoolConfig {
        name: "limiter",
        url: url.parse()?,
        permits: NonZeroUsize::new(100).ok_or("not zero")?,
        connections: NonZeroUsize::new(2).ok_or("not zero")?,
        wait: Duration::from_millis(100),
        command_timeout: Duration::from_millis(100),
        open_for: redis_pool::OPEN_FOR,
    };
    let mut registry = Registry::default();
    let pool = RedisPool::new(config, Arc::clone(&clock), &PoolMetrics::register(&mut registry));
    let cold_start = ColdStart::new(Duration::from_secs(300), Factor::new(0.5)?)?;
    let metrics = LimiterMetrics::register(&mut registry);
    let limiter = Limiter::new(pool, Region::new("example")?, cold_start, metrics, clock);
    let limit = Arc::new(Limit { limiter, per_minute: Quota::new(10)? });
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .layer(middleware::from_fn_with_state(limit, limited));
    println!("listening on http://{ADDRESS}/");
    let listener = tokio::net::TcpListener::bind(ADDRESS).await?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
