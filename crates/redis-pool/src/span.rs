//! The span of a call to Redis. The attributes follow OpenTelemetry's conventions for databases; no key and
//! no value is among them.

use redis::{Arg, Cmd, Value};
use tracing::Span;
use tracing::field::Empty;

use crate::error::PoolError;

/// Returns the span of one command `operation`. `script` is the name of the script that it runs, if any, and
/// its number of keys.
pub(crate) fn of_call(pool: &'static str, operation: &str, script: Option<(&'static str, usize)>) -> Span {
    let (script, keys) = script.unzip();
    tracing::info_span!(
        target: spans::TARGET,
        "redis",
        otel.name = script.unwrap_or(operation),
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = "redis",
        db.operation.name = operation,
        db.stored_procedure.name = script,
        voketag.redis.pool = pool,
        voketag.redis.keys = keys,
        error.type = Empty,
    )
}

/// Records the error of the call.
pub(crate) fn record(span: &Span, result: &Result<Value, PoolError>) {
    if let Err(error) = result {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", error.label());
    }
}

/// Returns the name of a command. A name is never an argument.
pub(crate) fn name_of(cmd: &Cmd) -> String {
    match cmd.args_iter().next() {
        Some(Arg::Simple(name)) => String::from_utf8_lossy(name).into_owned(),
        _ => String::new(),
    }
}
