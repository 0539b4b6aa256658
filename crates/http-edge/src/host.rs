//! Checks the request target and `Host` (RFC 9112 §3.2), because a proxy may route by a value that we would
//! ignore.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Method, Uri, Version};
use std::net::Ipv6Addr;

/// Why a request's target or `Host` is invalid. The connection attaches it to the request, and the edge
/// rejects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidHost(pub(crate) &'static str);

/// Checks the target: a path, an absolute URI or `*`. Only `CONNECT` takes an authority.
pub(crate) fn check_target(method: &Method, target: &Uri) -> Result<(), InvalidHost> {
    let only_authority = target.scheme().is_none() && target.authority().is_some();
    if only_authority && method != Method::CONNECT {
        return Err(InvalidHost("the request target takes a path, e.g. /v1/health"));
    }
    Ok(())
}

/// Checks `Host`: HTTP/1.1 takes it once, HTTP/1.0 at most once. It is a host with or without a port.
pub(crate) fn check(version: Version, headers: &HeaderMap) -> Result<(), InvalidHost> {
    let mut values = headers.get_all(HOST).iter();
    let Some(host) = values.next() else {
        let required = version >= Version::HTTP_11;
        return if required { Err(InvalidHost("the header host is missing")) } else { Ok(()) };
    };
    if values.next().is_some() {
        return Err(InvalidHost("the header host is given more than once"));
    }
    let valid = host.is_empty() || Authority::try_from(host.as_bytes()).is_ok_and(|read| names_a_host(&read));
    if valid { Ok(()) } else { Err(InvalidHost("the header host takes a host, with or without a port")) }
}

/// Rejects what the parser accepts: user information, an empty name, a list, a bracket without an address, an
/// invalid port.
fn names_a_host(authority: &Authority) -> bool {
    let host = authority.host();
    let Some(port) = authority.as_str().strip_prefix(host) else { return false };
    let named = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains(','),
    };
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let fits = |port: &str| port.is_empty() || digits(port) && port.parse::<u16>().is_ok();
    named && (port.is_empty() || port.strip_prefix(':').is_some_and(fits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn hosts(values: &[&[u8]]) -> HeaderMap {
        values.iter().map(|value| (HOST, HeaderValue::from_bytes(value).unwrap())).collect()
    }

    #[test]
    fn one_host_with_or_without_a_port_is_valid() {
        for good in
            ["a", "a.example", "a.example:8080", "a:65535", "a:", "127.0.0.1", "[::1]", "[::1]:80", ""]
        {
            assert_eq!(check(Version::HTTP_11, &hosts(&[good.as_bytes()])), Ok(()), "{good}");
        }
        for bad in [
            &b"a b"[..],
            b"u@a",
            b"a/b",
            b"\xff",
            b"a,b c",
            b"a,b",
            b":80",
            b"a:65536",
            b"a:x",
            b"a:+1",
            b"a:1:2",
            b"[::1",
            b"[]",
            b"[x]:80",
            b"[::1]80",
        ] {
            assert!(check(Version::HTTP_11, &hosts(&[bad])).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_http_1_0_may_omit_the_host_and_none_may_repeat_it() {
        assert!(check(Version::HTTP_11, &hosts(&[])).is_err());
        assert_eq!(check(Version::HTTP_10, &hosts(&[])), Ok(()));
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert!(check(version, &hosts(&[b"a", b"a"])).is_err());
        }
    }
}
