//! Reading replies of Redis into Rust values.

use redis::{FromRedisValue, Value};
use redis_pool::Error;

/// Converts a reply.
///
/// # Errors
/// [`Error::Reply`] when it has another shape.
pub(crate) fn parse<T: FromRedisValue>(value: Value) -> Result<T, Error> {
    redis::from_redis_value(value).map_err(|error| Error::Reply { what: error.to_string() })
}

/// Returns an integer reply, `None` for another type or a value out of range.
pub(crate) fn integer<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    if let Value::Int(value) = value { T::try_from(*value).ok() } else { None }
}

/// The error for a reply of an unexpected shape. `source` names the script or command.
pub(crate) fn unexpected(source: &str, value: &Value) -> Error {
    Error::Reply { what: format!("unexpected reply of {source}: {value:?}") }
}
