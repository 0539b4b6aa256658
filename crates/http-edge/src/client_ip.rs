//! The client address behind trusted proxies, as docs/contract.md §6 specifies.
//!
//! `X-Forwarded-For` is used only if the peer is trusted. It is read from the right, up to the first address
//! that is not trusted. What a client writes into the header lies to the left of that address and is ignored.

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The length limit of a hop, in bytes. A bracketed IPv6 address with a port has at most 47.
const MAX_HOP: usize = 64;

/// The proxies whose `X-Forwarded-For` is used, by default none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Trusts these networks. Pass an IPv4-mapped IPv6 network as IPv4, because addresses are converted
    /// before they are compared.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Returns the client's address. An IPv4-mapped IPv6 address is converted to IPv4.
    ///
    /// It is `peer`, unless `peer` is trusted. Then it is the first address from the right in all
    /// `X-Forwarded-For` lines that is not trusted. If all are trusted, it is the leftmost. A hop that is not
    /// an address ends the search at the address right of it.
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

/// Returns the subject of a limit per client: the IPv4 address or the IPv6 /64 as text, e.g. `203.0.113.7` or
/// `2001:db8:1:2::/64`. IPv4-mapped addresses count as IPv4.
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

/// Parses a hop: an address, an address with a port, or an IPv6 address in brackets with or without a port.
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
        let network = |item: &str| item.parse().unwrap_or_else(|_| IpNet::from(ip(item)));
        let proxies = TrustedProxies::new(trusted.split(',').filter(|item| !item.is_empty()).map(network));
        proxies.client_address(ip(peer), &headers(lines)).to_string()
    }

    #[test]
    fn the_header_of_an_untrusted_peer_is_ignored() {
        assert_eq!(client("", "198.51.100.9", &["1.1.1.1"]), "198.51.100.9");
        assert_eq!(client("10.0.0.0/8", "198.51.100.9", &["1.1.1.1"]), "198.51.100.9");
        assert_eq!(client("10.0.0.0/8", "198.51.100.9", &["10.0.0.1"]), "198.51.100.9");
    }

    #[test]
    fn the_client_is_the_first_untrusted_address_from_the_right() {
        let cases: &[(&str, &str, &[&str], &str)] = &[
            ("10.0.0.0/8", "10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            // what the client wrote is left of what the proxy appended
            ("10.0.0.0/8", "10.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.0/8", "10.0.0.1", &["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
            ("10.0.0.0/8", "10.0.0.1", &["1.1.1.1, 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
            ("10.0.0.0/8", "10.0.0.1", &["1.1.1.1, 203.0.113.7", "10.9.9.9 , 10.8.8.8"], "203.0.113.7"),
            // all trusted: the leftmost
            ("10.0.0.0/8", "10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            // not an address: the one right of it
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
            ("10.0.0.1", "10.0.0.1", &["203.0.113.7, 10.0.0.2"], "10.0.0.2"),
            ("2001:db8::/32", "2001:db8::1", &["203.0.113.7"], "203.0.113.7"),
        ];
        for (trusted, peer, lines, expected) in cases {
            assert_eq!(client(trusted, peer, lines), *expected, "{trusted} {peer} {lines:?}");
        }
    }

    #[test]
    fn a_hop_over_the_length_limit_is_not_an_address() {
        let padded = format!("203.0.113.7,{}", "0".repeat(10_000));
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[&padded]), "10.0.0.1");
    }

    #[test]
    fn limits_count_per_ipv4_address_or_ipv6_prefix() {
        assert_eq!(limit_subject(ip("203.0.113.7")), "203.0.113.7");
        assert_eq!(limit_subject(ip("::ffff:203.0.113.7")), "203.0.113.7");
        assert_eq!(limit_subject(ip("2001:db8:1:2:3:4:5:6")), "2001:db8:1:2::/64");
        assert_eq!(limit_subject(ip("::1")), "::/64");
    }

    proptest! {
        #[test]
        fn the_header_of_a_client_never_changes_its_address(
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
        fn an_untrusted_peer_is_the_client(
            lines in proptest::collection::vec("[ -~]{0,40}", 0..4), peer in any::<[u8; 16]>(),
        ) {
            let peer = IpAddr::V6(Ipv6Addr::from(peer)).to_canonical();
            prop_assume!(!peer.to_string().starts_with("10."));
            let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
            prop_assert_eq!(client("10.0.0.0/8", &peer.to_string(), &lines), peer.to_string());
        }

        #[test]
        fn every_text_form_of_an_address_is_parsed(bytes in any::<[u8; 16]>(), port in any::<u16>()) {
            let v6 = Ipv6Addr::from(bytes);
            for text in [format!("{v6}"), format!("[{v6}]"), format!(" [{v6}]:{port} ")] {
                prop_assert_eq!(address_of(text.as_bytes()), Some(IpAddr::V6(v6).to_canonical()));
            }
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(hop in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = address_of(&hop);
        }

        #[test]
        fn hosts_of_one_prefix_share_a_limit(
            prefix in any::<[u8; 8]>(), a in any::<[u8; 8]>(), b in any::<[u8; 8]>(),
        ) {
            prop_assume!(prefix != [0; 8]);
            let host = |rest: [u8; 8]| {
                let bytes: [u8; 16] = [prefix, rest].concat().try_into().unwrap();
                limit_subject(IpAddr::V6(Ipv6Addr::from(bytes)))
            };
            prop_assert_eq!(host(a), host(b));
        }
    }
}
