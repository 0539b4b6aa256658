//! Reading replies of Redis into Rust values.

use redis::{FromRedisValue, Value};
use redis_pool::PoolError;

/// Converts a reply.
///
/// # Errors
/// [`PoolError::Reply`] when it has another shape.
pub(crate) fn parse<T: FromRedisValue>(value: Value) -> Result<T, PoolError> {
    redis::from_redis_value(value).map_err(|error| PoolError::Reply { what: error.to_string() })
}

/// Returns an integer reply, `None` for another type or a value out of range.
pub(crate) fn integer<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    if let Value::Int(value) = value { T::try_from(*value).ok() } else { None }
}

/// The error for a reply of an unexpected shape. `source` names the script or command.
pub(crate) fn unexpected(source: &str, value: &Value) -> PoolError {
    PoolError::Reply { what: format!("unexpected reply of {source}: {value:?}") }
}
