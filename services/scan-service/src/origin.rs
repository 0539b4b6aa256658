//! Origins of web pages (RFC 6454): scheme, host and port, compared as browsers do.

use std::fmt;
use std::str::FromStr;

use axum::http::Uri;
use axum::http::uri::{Authority, Scheme};
use settings::Kind;

/// The origin of a web page. Its text is that which a browser sends: lower case, without the scheme's default
/// port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebOrigin {
    tls: bool,
    host: String,
    port: u16,
}

/// The error for a text that is not the origin of a web page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoOrigin;

impl WebOrigin {
    /// Returns the origin of `url`, whatever its path, or `None` if it is not the URL of a web page.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let (host, port) = split(uri.authority()?)?;
        Some(Self { tls, host, port: port.unwrap_or(default_port(tls)) })
    }

    /// Whether a request with this `Host` was sent to this origin. The scheme is not compared, because a
    /// proxy may have ended TLS.
    pub(crate) fn is_of_host(&self, host: &[u8]) -> bool {
        let read = Authority::try_from(host).ok().and_then(|authority| split(&authority));
        read.is_some_and(|(host, port)| {
            host == self.host && port.unwrap_or(default_port(self.tls)) == self.port
        })
    }
}

/// Splits an authority into host and port. Returns `None` if it has a user, or a port that is not a number.
fn split(authority: &Authority) -> Option<(String, Option<u16>)> {
    let host = authority.host();
    if host.is_empty() {
        return None;
    }
    let port = match authority.as_str().strip_prefix(host)? {
        "" => None,
        rest => Some(rest.strip_prefix(':')?.parse().ok()?),
    };
    Some((host.to_ascii_lowercase(), port))
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.host)?;
        if self.port == default_port(self.tls) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl FromStr for WebOrigin {
    type Err = NoOrigin;

    /// Parses an origin. A path, query or fragment after it is an error.
    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let authority = text.split_once("://").map(|(_, rest)| rest).ok_or(NoOrigin)?;
        let alone = !authority.contains(['/', '?', '#', '@']);
        if alone { Self::of_url(text).ok_or(NoOrigin) } else { Err(NoOrigin) }
    }
}

/// Returns the kind of a setting that is a list of origins.
pub(crate) fn web_origins() -> Kind<Vec<WebOrigin>> {
    let takes = "origins of web pages separated by commas, each http:// or https:// with a host, an optional \
                 port and no path, e.g. https://www.example.com,https://shop.example.com:8443";
    Kind::new(takes, |text| {
        let read = |one: &str| {
            let one = one.trim();
            one.parse().map_err(|NoOrigin| format!("\"{}\" is not an origin", one.escape_debug()))
        };
        // As for other lists, an empty text means no items.
        if text.trim().is_empty() { Ok(Vec::new()) } else { text.split(',').map(read).collect() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_a_scheme_a_host_and_an_optional_port_and_nothing_else() {
        for (text, normalised) in [
            ("https://a.example", "https://a.example"),
            ("HTTPS://A.Example:443", "https://a.example"),
            ("http://a.example:443", "http://a.example:443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:80", "http://[::1]"),
        ] {
            assert_eq!(text.parse::<WebOrigin>().unwrap().to_string(), normalised, "{text}");
        }
        for bad in [
            "",
            "null",
            "*",
            "a.example",
            "ftp://a.example",
            "https://",
            "https://a.example/",
            "https://a.example/x",
            "https://a.example?x",
            "https://u@a.example",
            "https://a.example:x",
            "https://a.example:99999",
            "https://*.example/",
            "file:///x",
            "https:// a",
        ] {
            assert_eq!(bad.parse::<WebOrigin>(), Err(NoOrigin), "{bad}");
        }
        let base = WebOrigin::of_url("https://tags.example/below").unwrap();
        assert_eq!(base.to_string(), "https://tags.example");
    }

    #[test]
    fn a_host_without_a_port_has_the_default_port_of_the_scheme() {
        let origin: WebOrigin = "https://a.example".parse().unwrap();
        for host in ["a.example", "A.EXAMPLE", "a.example:443"] {
            assert!(origin.is_of_host(host.as_bytes()), "{host}");
        }
        for host in ["a.example:80", "a.example:8443", "b.example", "a.example.evil.example", "", "a b"] {
            assert!(!origin.is_of_host(host.as_bytes()), "{host}");
        }
        let odd: WebOrigin = "http://a.example:8080".parse().unwrap();
        assert!(odd.is_of_host(b"a.example:8080") && !odd.is_of_host(b"a.example"));
    }
}
