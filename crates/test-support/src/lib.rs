//! What the tests of every crate share: a private redis-server per test, a TCP proxy that fails on command,
//! and a way to await a condition without sleeping blindly.
//!
//! A development dependency only. Everything here panics rather than returning an error: a test that cannot
//! have its Redis must be red, never skipped.

mod captured_log;
mod compose;
mod exposition;
mod failover;
mod fault_proxy;
mod metrics_reference;
mod openapi;
mod otlp_receiver;
mod port;
mod process;
mod redis_server;
mod rights;
mod timestamps;
mod write_refusal;

use std::future::Future;
use std::time::Duration;

pub use captured_log::CapturedLog;
pub use compose::ComposeService;
pub use exposition::assert_sound_exposition;
pub use failover::Failover;
pub use fault_proxy::FaultProxy;
pub use metrics_reference::{assert_metrics_documented, metrics_table};
pub use openapi::{ApiOperation, assert_sound_document, assert_values_described, operations, request_schema};
pub use otlp_receiver::{OtlpReceiver, ReceivedSpan};
pub use redis_server::RedisServer;
pub use timestamps::assert_uniform_timestamps;
pub use write_refusal::WriteRefusal;

const POLL_EVERY: Duration = Duration::from_millis(5);

/// Asks `condition` every 5 ms until it says yes.
///
/// # Panics
///
/// With `what` in the message, when it has not said yes `within` that time of the tokio clock.
pub async fn eventually<F, Fut>(what: &str, within: Duration, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let satisfied = async {
        while !condition().await {
            tokio::time::sleep(POLL_EVERY).await;
        }
    };
    assert!(tokio::time::timeout(within, satisfied).await.is_ok(), "not so within {within:?}: {what}");
}
