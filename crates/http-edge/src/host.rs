//! What `Host` must be (RFC 9112 §3.2): a proxy in front may route by one that we would not have read.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Version};

/// Why a request's `Host` is refused. The connection notes it on the request, and the edge answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnfitHost(pub(crate) &'static str);

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
    let names_a_host = |authority: Authority| !authority.as_str().contains('@');
    let fit = host.is_empty() || Authority::try_from(host.as_bytes()).is_ok_and(names_a_host);
    if fit { Ok(()) } else { Err(UnfitHost("the header host takes a host, with or without a port")) }
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
        for good in ["a", "a.example", "a.example:8080", "127.0.0.1", "[::1]:80", ""] {
            assert_eq!(check(Version::HTTP_11, &hosts(&[good.as_bytes()])), Ok(()), "{good}");
        }
        for bad in [&b"a b"[..], b"u@a", b"a/b", b"\xff", b"a,b c"] {
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
