//! The address of a Redis: `redis://`, `rediss://` (TLS) or `redis+unix://`, with user, password and database
//! number.
//!
//! The client library ignores what it does not know (`?db=3`), strips line breaks and reads a `+` of a query
//! as a blank, so the text is checked part by part before the library sees it.

use std::fmt;
use std::str::FromStr;

use crate::tls::TlsCertificates;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

/// What an address looks like, for error messages: the end of the sentence "it takes …".
const TAKES: &str = "redis://[user:password@]host[:port][/database], rediss:// likewise, or \
    redis+unix:///path[?db=..&user=..&pass=..], e.g. redis://127.0.0.1:6379/0";

/// A parsed Redis address. `Debug` and `Display` never show a password.
#[derive(Clone)]
pub struct RedisUrl(ConnectionInfo);

/// Text that is no Redis address. Never repeats a part of the text that may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

impl UrlError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    fn not_encoded() -> Self {
        Self::new(
            "its user or password is not percent-encoded: in there every character but letters, digits and \
             - . _ ~ is written as % and two hex digits, e.g. %40 for @, %2F for /, %23 for #",
        )
    }
}

impl FromStr for RedisUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(UrlError::new("it has no scheme"));
        };
        match scheme {
            "redis" | "rediss" => check_tcp(rest)?,
            "redis+unix" => check_unix(rest)?,
            _ => return Err(UrlError::new("its scheme is another")),
        }
        let info = text.into_connection_info().map_err(|error| {
            UrlError(error.detail().map_or_else(|| error.category().to_owned(), str::to_owned))
        })?;
        match info.addr() {
            ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(_) | ConnectionAddr::TcpTls { .. } => {}
            _ => return Err(UrlError::new("this kind of address is not supported")),
        }
        // With RESP3 the client library reports the end of a connection at once.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Self(info.set_redis_settings(settings)))
    }
}

/// `[user:password@]host[:port][/database]` and nothing else.
fn check_tcp(rest: &str) -> Result<(), UrlError> {
    // An @, / or ? that is left as it is in a password lies before the last @, and is found in the login.
    let server = match rest.rsplit_once('@') {
        Some((login, server)) if is_encoded(login, "!$&'()*+,;=:") => server,
        Some(_) => return Err(UrlError::not_encoded()),
        None => rest,
    };
    let (server, fragment) = split_off(server, '#');
    let (server, query) = split_off(server, '?');
    let (address, path) = server.find('/').map_or((server, ""), |at| server.split_at(at));
    check_host(address)?;
    if let Some(query) = query {
        let hint = if query.starts_with("db=") { "; the database is the path, e.g. /3" } else { "" };
        return Err(UrlError(format!("{} is not accepted{hint}", parameter(query, 1, true))));
    }
    if fragment.is_some() {
        return Err(UrlError::new("a fragment (#…) is not accepted"));
    }
    match path.strip_prefix('/') {
        None | Some("") => Ok(()),
        Some(number) => check_database(number, "its path"),
    }
}

fn check_host(address: &str) -> Result<(), UrlError> {
    let (host, port) = match address.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((_, after)) => ("[", after.strip_prefix(':').or((!after.is_empty()).then_some(after))),
        None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(UrlError::new("its host is missing"));
    }
    if let Some(port) = port
        && (!port.bytes().all(|byte| byte.is_ascii_digit())
            || port.parse::<u16>().map_or(true, |port| port == 0))
    {
        return Err(UrlError::new("its port is no number from 1 to 65535"));
    }
    if !is_encoded(host, "[") {
        return Err(UrlError::new("its host holds a character that no host has"));
    }
    Ok(())
}

fn check_database(number: &str, part: &str) -> Result<(), UrlError> {
    let good = number.bytes().all(|byte| byte.is_ascii_digit()) && number.parse::<u32>().is_ok();
    if good { Ok(()) } else { Err(UrlError(format!("{part} is no database number"))) }
}

/// `/path[?db=..&user=..&pass=..]` and nothing else.
fn check_unix(rest: &str) -> Result<(), UrlError> {
    if !rest.starts_with('/') {
        let why = "its socket has no absolute path (user and password are ?user= and &pass=)";
        return Err(UrlError::new(why));
    }
    let (path, query) = split_off(rest, '?');
    if path.contains('#') {
        return Err(UrlError::new("a fragment (#…) is not accepted"));
    }
    if !is_encoded(path, "/!$&'()*+,;=:@") {
        return Err(UrlError::new("its path is not percent-encoded"));
    }
    let mut seen = Vec::new();
    for (at, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let secret = seen.contains(&"pass");
        if !matches!(name, "db" | "user" | "pass") {
            // What follows a password may be a part of it.
            return Err(if secret && !pair.contains('=') {
                UrlError::not_encoded()
            } else {
                UrlError(format!("{} is not accepted", parameter(pair, at + 1, !secret)))
            });
        }
        if seen.contains(&name) {
            return Err(UrlError(format!("its parameter {name} is there twice")));
        }
        seen.push(name);
        match name {
            "db" if secret && value.contains('#') => return Err(UrlError::not_encoded()),
            "db" => check_database(value, "its parameter db")?,
            // A + would be read as a blank.
            _ if !is_encoded(value, "!$'()*,;=:@/") => return Err(UrlError::not_encoded()),
            _ => {}
        }
    }
    Ok(())
}

/// Names the first parameter of a query, by its place where it may be something else than a name.
fn parameter(query: &str, place: usize, may_be_shown: bool) -> String {
    let name = query.split_once('=').map(|(name, _)| name);
    let plain = |name: &&str| {
        (1..=20).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    };
    match name.filter(|name| may_be_shown && plain(name)) {
        Some(name) => format!("its query parameter {name}"),
        None => format!("its query parameter number {place}"),
    }
}

fn split_off(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// Whether all of it is letters, digits, `-._~`, `%` with two hex digits, or one of `more`.
fn is_encoded(text: &str, more: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        b'-' | b'.' | b'_' | b'~' => true,
        byte => byte.is_ascii_alphanumeric() || more.as_bytes().contains(byte),
    })
}

impl RedisUrl {
    /// What an address looks like: the end of the sentence "it takes …".
    pub const TAKES: &str = TAKES;

    /// A text that should have been an address, without what may be a password: the scheme, and the rest only
    /// where it has no place for one.
    #[must_use]
    pub fn redacted(text: &str) -> String {
        let is_plain = |text: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-./_".contains(&byte);
            text.len() <= 80 && text.bytes().all(allowed)
        };
        match text.split_once("://") {
            Some((scheme, rest))
                if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+') =>
            {
                format!("\"{scheme}://{}\"", if is_plain(rest) { rest } else { "***" })
            }
            None if is_plain(text) => format!("{text:?}"),
            _ => "something that may hold a password (not shown)".to_owned(),
        }
    }

    /// Whether connections speak TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.0.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// The same address with these certificates; one without TLS stays as it is.
    #[must_use]
    pub fn with_certificates(self, certificates: &TlsCertificates) -> Self {
        Self(certificates.apply(self.0))
    }

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

    fn why(text: &str) -> String {
        text.parse::<RedisUrl>().expect_err(text).to_string()
    }

    #[test]
    fn every_documented_form_is_accepted_and_read() {
        for (text, shown) in [
            ("redis://127.0.0.1:6379", "127.0.0.1:6379 db 0"),
            ("redis://redis/", "redis:6379 db 0"),
            ("redis://[::1]:7000/2", "::1:7000 db 2"),
            ("redis://[::1]", "::1:6379 db 0"),
            ("rediss://user:p%40ss@example.org:6380/2", "example.org:6380 db 2"),
            ("redis://:pw@h/15", "h:6379 db 15"),
            ("redis+unix:///run/redis.sock", "/run/redis.sock db 0"),
            ("redis+unix:///run/redis.sock?db=3&user=u&pass=p%2Bw", "/run/redis.sock db 3"),
        ] {
            let url: RedisUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(url.to_string(), shown, "{text}");
        }
        let url: RedisUrl = "redis+unix:///s?pass=p%2Bw%26%23".parse().unwrap();
        assert_eq!(url.info().redis_settings().password(), Some("p+w&#"));
        let url: RedisUrl = "redis://u:p%40%2Fss@h".parse().unwrap();
        assert_eq!(url.info().redis_settings().password(), Some("p@/ss"));
    }

    #[test]
    fn a_part_that_is_not_understood_is_named() {
        for (text, part) in [
            ("redis://h:1/?db=3", "query parameter db is not accepted; the database is the path"),
            ("redis://h?protocol=resp3", "query parameter protocol"),
            ("rediss://h:1?", "query parameter number 1"),
            ("rediss://h:1/#insecure", "fragment"),
            ("redis://h/x", "path is no database number"),
            ("redis://h/-1", "path is no database number"),
            ("redis://h/0/1", "path is no database number"),
            ("redis://h/0/", "path is no database number"),
            ("redis://h/4294967296", "path is no database number"),
            ("redis://", "host is missing"),
            ("redis://:6379", "host is missing"),
            ("redis:///0", "host is missing"),
            ("redis://h:", "port"),
            ("redis://h:0", "port"),
            ("redis://h:65536", "port"),
            ("redis://[::1]x", "port"),
            ("redis://h o", "host holds"),
            ("redis://h\n", "host holds"),
            ("redis://h/1\n", "path is no database number"),
            ("redis+unix://run/s", "absolute path"),
            ("redis+unix:///s?db=x", "parameter db is no database number"),
            ("redis+unix:///s?db=1&db=2", "parameter db is there twice"),
            ("redis+unix:///s?password=x", "query parameter password"),
            ("redis+unix:///s#x", "fragment"),
            ("redis+unix:///a b", "path is not percent-encoded"),
            ("valkey://h", "scheme"),
            ("unix:///s", "scheme"),
            ("localhost:6379", "scheme"),
            ("", "scheme"),
        ] {
            assert!(why(text).contains(part), "{text}: {}", why(text));
        }
    }

    #[test]
    fn a_password_that_is_not_percent_encoded_is_told_so_and_not_shown() {
        for text in [
            "redis://:hun/ter2@h:1/0",
            "redis://:hun@ter2@h",
            "redis://:hun?ter2@h",
            "redis://:hun#ter2@h",
            "redis://:hun%ter2@h",
            "redis://:hun ter2@h",
            "redis://:hun\u{e9}ter2@h",
            "redis://:hun\"ter2@h",
            "redis://:hun[ter2@h",
            "redis+unix:///s?pass=hun+ter2",
            "redis+unix:///s?pass=hun&ter2",
            "redis+unix:///s?pass=hun#ter2",
            "redis+unix:///s?pass=hun%ter2",
            "redis+unix:///s?pass=hun&db=1#ter2",
        ] {
            let shown = format!("{} {}", why(text), RedisUrl::redacted(text));
            assert!(shown.contains("percent-encoded"), "{text}: {shown}");
            assert!(!shown.contains("hun") && !shown.contains("ter2"), "{text}: {shown}");
        }
    }

    #[test]
    fn no_error_shows_what_may_be_a_password() {
        for text in [
            "http://:hunter2@x",
            "hunter2@x:1",
            "u:hunter2",
            "redis://:hunter2",
            "redis://:hunter2@h:notaport",
            "redis://:hunter2@h/x",
            "redis://:hunter2@h?x=1",
            "redis://u:hunter2",
            "redis+unix://:hunter2@/run/s",
            "redis+unix:///s?pass=a&hunter2=b",
            "redis+unix:///s?pass=hunter2&x=1",
            "redis+unix:///s?pass=hunter2&pass=hunter2",
            "redis+unix:///s?db=hunter2&pass=a",
        ] {
            let shown = format!("{} {}", why(text), RedisUrl::redacted(text));
            assert!(!shown.contains("hunter2"), "{text}: {shown}");
        }
        assert_eq!(RedisUrl::redacted("http://h"), "\"http://h\"");
    }

    #[test]
    fn nothing_shows_the_password() {
        for text in ["redis://u:hunter2@10.0.0.1:7000/3", "redis+unix:///run/s?user=u&pass=hunter2&db=3"] {
            let url: RedisUrl = text.parse().unwrap();
            assert!(!format!("{url} {url:?}").contains("hunter2"), "{url:?}");
            assert_eq!(url.info().redis_settings().password(), Some("hunter2"));
        }
    }

    #[test]
    fn same_database_looks_at_server_and_number() {
        let url = |text: &str| text.parse::<RedisUrl>().unwrap();
        assert!(url("redis://h:1").same_database(&url("redis://h:1/0")));
        assert!(!url("redis://h:1").same_database(&url("redis://h:1/1")));
        assert!(!url("redis://h:1").same_database(&url("redis://h:2")));
    }
}
