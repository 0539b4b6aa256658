//! The address of a Redis: `redis://`, `rediss://` (TLS) or `redis+unix://`, with user, password and database number.

use std::fmt;
use std::str::FromStr;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

/// A parsed Redis address. `Debug` and `Display` never show a password.
#[derive(Clone)]
pub struct RedisUrl(ConnectionInfo);

/// Text that is no Redis address. Never repeats the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a Redis address ({0}); it takes redis://, rediss:// or redis+unix://, e.g. redis://127.0.0.1:6379/0"
)]
pub struct UrlError(String);

impl FromStr for RedisUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        // The client library parses `rediss` only together with a TLS stack of its own; ours is in `connect`.
        let (plain, tls) = match text.strip_prefix("rediss://") {
            Some(rest) => (format!("redis://{rest}"), true),
            None => (text.to_owned(), false),
        };
        if plain.contains('#') {
            return Err(UrlError("a fragment (#…) is not accepted".to_owned()));
        }
        let info = plain.into_connection_info().map_err(|error| {
            UrlError(error.detail().map_or_else(|| error.category().to_owned(), str::to_owned))
        })?;
        match (info.addr().clone(), tls) {
            (ConnectionAddr::Tcp(host, port), true) => {
                let addr = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
                Ok(Self(info.set_addr(addr)))
            }
            (ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(_), false) => Ok(Self(info)),
            _ => Err(UrlError("this kind of address is not supported".to_owned())),
        }
    }
}

impl RedisUrl {
    /// Where to connect to and how to log in.
    pub(crate) fn info(&self) -> &ConnectionInfo {
        &self.0
    }

    /// Whether both name the same server and database, so that one script call can reach the keys of both.
    #[must_use]
    pub fn same_database(&self, other: &Self) -> bool {
        self.0.addr() == other.0.addr() && self.0.redis_settings().db() == other.0.redis_settings().db()
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} db {}", self.0.addr(), self.0.redis_settings().db())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_accepted() {
        for text in
            ["redis://127.0.0.1:6379", "rediss://user:pw@example.org:6380/2", "redis+unix:///run/redis.sock"]
        {
            assert!(text.parse::<RedisUrl>().is_ok(), "{text}");
        }
    }

    #[test]
    fn other_text_is_refused_without_repeating_it() {
        for text in
            ["", "localhost", "http://:hunter2@x", "rediss://h:1/#insecure", "redis://:hunter2@h:notaport"]
        {
            let error = text.parse::<RedisUrl>().expect_err(text);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn nothing_shows_the_password() {
        let url: RedisUrl = "redis://u:hunter2@10.0.0.1:7000/3".parse().unwrap();
        assert_eq!(format!("{url}"), "10.0.0.1:7000 db 3");
        assert!(!format!("{url:?}").contains("hunter2"));
    }

    #[test]
    fn same_database_looks_at_server_and_number() {
        let url = |text: &str| text.parse::<RedisUrl>().unwrap();
        assert!(url("redis://h:1").same_database(&url("redis://h:1/0")));
        assert!(!url("redis://h:1").same_database(&url("redis://h:1/1")));
        assert!(!url("redis://h:1").same_database(&url("redis://h:2")));
    }
}
