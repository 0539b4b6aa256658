//! Which address a request comes from, when proxies of our own stand in front.
//!
//! The rule is the public contract's, docs/contract.md §6: nobody's `X-Forwarded-For` is believed but that of a
//! trusted peer, and of it only the part the trusted proxies wrote, read from the right. What a client puts into
//! the header lies left of the first address that is not trusted, where nobody looks.

use http::{HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv4Net};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Longest hop that is looked at, in bytes: a bracketed IPv6 address with a port has at most 47.
const MAX_HOP: usize = 64;

/// The proxies whose `X-Forwarded-For` is believed. The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// A list of proxies that cannot be taken; it names the item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyListError {
    /// Neither an address nor a CIDR.
    #[error("{0:?} is neither an IP address nor a CIDR")]
    Unreadable(String),
    /// It would trust everybody.
    #[error("{0:?} covers every address")]
    Everybody(String),
}

/// As [`FromStr`] reads it.
impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nets: Vec<String> = self.0.iter().map(IpNet::to_string).collect();
        f.write_str(&nets.join(","))
    }
}

impl FromStr for TrustedProxies {
    type Err = ProxyListError;

    /// Reads addresses and CIDRs separated by commas; an empty text trusts nobody.
    fn from_str(text: &str) -> Result<Self, ProxyListError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let nets: Vec<IpNet> = text.split(',').map(|item| net_of(item.trim())).collect::<Result<_, _>>()?;
        // Several that cover everything between them are one `/0` in disguise.
        if IpNet::aggregate(&nets).iter().any(|net| net.prefix_len() == 0) {
            return Err(ProxyListError::Everybody(text.trim().to_owned()));
        }
        Ok(Self(nets))
    }
}

impl TrustedProxies {
    /// The client's address, IPv4-mapped IPv6 unwrapped: `peer`, unless `peer` is trusted; then the first address
    /// from the right of all `X-Forwarded-For` lines that is not.
    ///
    /// A hop that is no address ends the walk at the last good one; when all are trusted it is the leftmost.
    #[must_use]
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.trusts(client) {
            return client;
        }
        for line in headers.get_all(X_FORWARDED_FOR).iter().rev() {
            for hop in line.as_bytes().rsplit(|&byte| byte == b',') {
                let Some(address) = address_of(hop) else { return client };
                client = address;
                if !self.trusts(client) {
                    return client;
                }
            }
        }
        client
    }

    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }
}

/// What a limit per client counts by: the IPv4 address, or the IPv6 /64, as text (`203.0.113.7`,
/// `2001:db8:1:2::/64`). IPv4-mapped addresses count as IPv4.
#[must_use]
pub fn limit_subject(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

fn net_of(item: &str) -> Result<IpNet, ProxyListError> {
    let parsed = match item.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => item
            .parse::<IpAddr>()
            .map(IpNet::from)
            .map_err(|_| ProxyListError::Unreadable(item.to_owned()))?,
    };
    let net = unmapped(parsed).trunc();
    if net.prefix_len() == 0 {
        return Err(ProxyListError::Everybody(item.to_owned()));
    }
    Ok(net)
}

/// An IPv4-mapped IPv6 network as the IPv4 network it is: addresses are compared after the same unwrapping.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    match (v6.trunc().addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(v4), Some(prefix)) => Ipv4Net::new(v4, prefix).map_or(net, IpNet::V4),
        _ => net,
    }
}

/// The address of one hop: bare, with a port, or an IPv6 one in brackets with or without a port.
fn address_of(hop: &[u8]) -> Option<IpAddr> {
    let hop = hop.trim_ascii();
    if hop.len() > MAX_HOP {
        return None;
    }
    let text = std::str::from_utf8(hop).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match bare {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|at| at.ip())),
    };
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    fn client(trusted: &str, peer: &str, lines: &[&str]) -> String {
        let proxies: TrustedProxies = trusted.parse().unwrap();
        proxies.client_address(ip(peer), &headers(lines)).to_string()
    }

    #[test]
    fn nobody_is_believed_without_trust() {
        assert_eq!(client("", "198.51.100.9", &["1.1.1.1"]), "198.51.100.9");
        assert_eq!(client("10.0.0.0/8", "198.51.100.9", &["1.1.1.1"]), "198.51.100.9");
        assert_eq!(client("10.0.0.0/8", "198.51.100.9", &["10.0.0.1"]), "198.51.100.9");
    }

    #[test]
    fn the_walk_from_the_right() {
        let cases: &[(&str, &str, &[&str], &str)] = &[
            ("10.0.0.0/8", "10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            // a client's own claim stays left of what the proxy saw
            ("10.0.0.0/8", "10.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.0/8", "10.0.0.1", &["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
            ("10.0.0.0/8", "10.0.0.1", &["1.1.1.1, 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
            ("10.0.0.0/8", "10.0.0.1", &["1.1.1.1, 203.0.113.7", "10.9.9.9 , 10.8.8.8"], "203.0.113.7"),
            // all trusted: the leftmost
            ("10.0.0.0/8", "10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            // unparsable: the last good one
            ("10.0.0.0/8", "10.0.0.1", &["unknown"], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &["203.0.113.7, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.0/8", "10.0.0.1", &["203.0.113.7, , 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.0/8", "10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &["caf\u{e9}"], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &["203.0.113.7:99999"], "10.0.0.1"),
            // ports and brackets
            ("10.0.0.0/8", "10.0.0.1", &["203.0.113.7:51234"], "203.0.113.7"),
            ("10.0.0.0/8", "10.0.0.1", &["[2001:db8::7]:443"], "2001:db8::7"),
            ("10.0.0.0/8", "10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            ("10.0.0.0/8", "10.0.0.1", &["2001:db8::7"], "2001:db8::7"),
            ("10.0.0.0/8", "10.0.0.1", &["203.0.113.7, 10.0.0.2:80"], "203.0.113.7"),
            // IPv4-mapped, on either side
            ("10.0.0.0/8", "::ffff:10.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7"),
            ("::ffff:10.0.0.0/104", "10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", "10.0.0.1", &["203.0.113.7, 10.0.0.2"], "10.0.0.2"),
            ("2001:db8::/32", "2001:db8::1", &["203.0.113.7"], "203.0.113.7"),
        ];
        for (trusted, peer, lines, expected) in cases {
            assert_eq!(client(trusted, peer, lines), *expected, "{trusted} {peer} {lines:?}");
        }
    }

    #[test]
    fn an_overlong_hop_is_no_address() {
        let padded = format!("203.0.113.7,{}", "0".repeat(10_000));
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[&padded]), "10.0.0.1");
    }

    #[test]
    fn a_list_that_trusts_everybody_or_cannot_be_read_names_its_item() {
        for everybody in [
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/8, 1.2.3.4/0",
            "::ffff:0:0/96",
            "::ffff:1.2.3.4/96",
            "0.0.0.0/1,128.0.0.0/1",
            "128.0.0.0/1, 64.0.0.0/2, 10.0.0.1, 0.0.0.0/2",
            "8000::/1,::/1",
            "::ffff:0:0/97, 128.0.0.0/1",
        ] {
            let error = everybody.parse::<TrustedProxies>().unwrap_err();
            assert!(matches!(error, ProxyListError::Everybody(_)), "{everybody}: {error}");
        }
        for half in ["0.0.0.0/1,10.0.0.0/8", "0.0.0.0/1,::/1", "0.0.0.0/2,128.0.0.0/1"] {
            assert!(half.parse::<TrustedProxies>().is_ok(), "{half}");
        }
        for (list, item) in
            [("10.0.0.0/8,nonsense", "nonsense"), ("10.0.0.0/33", "10.0.0.0/33"), ("1.2.3.4,", "")]
        {
            let error = list.parse::<TrustedProxies>().unwrap_err();
            assert_eq!(error, ProxyListError::Unreadable(item.to_owned()));
        }
        assert_eq!(" ".parse::<TrustedProxies>().unwrap(), TrustedProxies::default());
    }

    #[test]
    fn limits_count_by_ipv4_address_or_ipv6_prefix() {
        assert_eq!(limit_subject(ip("203.0.113.7")), "203.0.113.7");
        assert_eq!(limit_subject(ip("::ffff:203.0.113.7")), "203.0.113.7");
        assert_eq!(limit_subject(ip("2001:db8:1:2:3:4:5:6")), "2001:db8:1:2::/64");
        assert_eq!(limit_subject(ip("::1")), "::/64");
    }

    proptest! {
        #[test]
        fn what_a_client_sends_never_changes_its_address(
            spoofed in "[ -~]{0,60}", seen in any::<[u8; 4]>(), lines_apart in any::<bool>(),
        ) {
            let seen = IpAddr::V4(Ipv4Addr::from(seen));
            prop_assume!(seen.to_string().split('.').next() != Some("10"));
            let appended = format!("{spoofed}, {seen}");
            let seen_text = seen.to_string();
            let spoofed = spoofed.trim().to_owned();
            let lines: Vec<&str> =
                if lines_apart { vec![&spoofed, &seen_text] } else { vec![&appended] };
            prop_assert_eq!(client("10.0.0.0/8", "10.0.0.1", &lines), seen.to_string());
        }

        #[test]
        fn an_untrusted_peer_is_the_client(lines in proptest::collection::vec("[ -~]{0,40}", 0..4), peer in any::<[u8; 16]>()) {
            let peer = IpAddr::V6(Ipv6Addr::from(peer)).to_canonical();
            prop_assume!(!peer.to_string().starts_with("10."));
            let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
            prop_assert_eq!(client("10.0.0.0/8", &peer.to_string(), &lines), peer.to_string());
        }

        #[test]
        fn every_written_form_of_an_address_is_read_back(bytes in any::<[u8; 16]>(), port in any::<u16>()) {
            let v6 = Ipv6Addr::from(bytes);
            for text in [format!("{v6}"), format!("[{v6}]"), format!(" [{v6}]:{port} ")] {
                prop_assert_eq!(address_of(text.as_bytes()), Some(IpAddr::V6(v6).to_canonical()));
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(hop in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = address_of(&hop);
        }

        #[test]
        fn hosts_of_one_prefix_share_a_limit(prefix in any::<[u8; 8]>(), a in any::<[u8; 8]>(), b in any::<[u8; 8]>()) {
            prop_assume!(prefix != [0; 8]);
            let host = |rest: [u8; 8]| {
                let bytes: [u8; 16] = [prefix, rest].concat().try_into().unwrap();
                limit_subject(IpAddr::V6(Ipv6Addr::from(bytes)))
            };
            prop_assert_eq!(host(a), host(b));
        }
    }
}
