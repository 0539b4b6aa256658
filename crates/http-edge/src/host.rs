//! What the request target and `Host` must be (RFC 9112 §3.2): a proxy in front may route by one that we would not have read.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Method, Uri, Version};
use std::net::Ipv6Addr;

/// Why a request's `Host` is refused. The connection notes it on the request, and the edge answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnfitHost(pub(crate) &'static str);

/// Looks at the target: a path, an absolute URI or `*`; the authority form is for `CONNECT` alone.
pub(crate) fn check_target(method: &Method, target: &Uri) -> Result<(), UnfitHost> {
    let only_authority = target.scheme().is_none() && target.authority().is_some();
    if only_authority && method != Method::CONNECT {
        return Err(UnfitHost("the request target takes a path, e.g. /v1/health"));
    }
    Ok(())
}

/// Looks at `Host`: HTTP/1.1 takes it once, HTTP/1.0 at most once, and both as a host with or without a port.
pub(crate) fn check(version: Version, headers: &HeaderMap) -> Result<(), UnfitHost> {
    let mut values = headers.get_all(HOST).iter();
    let Some(host) = values.next() else {
        let wanted = version >= Version::HTTP_11;
        return if wanted { Err(UnfitHost("the header host is missing")) } else { Ok(()) };
    };
    if values.next().is_some() {
        return Err(UnfitHost("the header host is given more than once"));
    }
    let fit = host.is_empty() || Authority::try_from(host.as_bytes()).is_ok_and(|read| names_a_host(&read));
    if fit { Ok(()) } else { Err(UnfitHost("the header host takes a host, with or without a port")) }
}

/// What the parser lets pass beyond that: user information, an empty name, a list, a bracket without an address, a port that is none.
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
    fn one_host_with_or_without_a_port_is_taken() {
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
    fn none_is_taken_of_http_1_0_alone_and_two_never() {
        assert!(check(Version::HTTP_11, &hosts(&[])).is_err());
        assert_eq!(check(Version::HTTP_10, &hosts(&[])), Ok(()));
        for version in [Version::HTTP_10, Version::HTTP_11] {
            assert!(check(version, &hosts(&[b"a", b"a"])).is_err());
        }
    }
}
