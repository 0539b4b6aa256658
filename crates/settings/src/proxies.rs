//! The list of trusted proxies as a setting.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// The networks of the trusted proxies, by default none. An IPv4-mapped IPv6 network is stored as an IPv4
/// network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyNetworks(Vec<IpNet>);

/// The reason why a list of proxies is rejected. It names the item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyListError {
    /// The item is neither an address nor a CIDR.
    #[error("{0:?} is neither an IP address nor a CIDR")]
    Unreadable(String),
    /// The item, or the list, would trust every client.
    #[error("{0:?} covers every address")]
    Everybody(String),
}

impl ProxyNetworks {
    /// Returns the networks, each without host bits.
    #[must_use]
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }
}

/// Writes the form that [`FromStr`] reads.
impl fmt::Display for ProxyNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nets: Vec<String> = self.0.iter().map(IpNet::to_string).collect();
        f.write_str(&nets.join(","))
    }
}

impl FromStr for ProxyNetworks {
    type Err = ProxyListError;

    /// Parses addresses and CIDRs separated by commas. An empty text trusts no proxy.
    fn from_str(text: &str) -> Result<Self, ProxyListError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let nets: Vec<IpNet> =
            text.split(',').map(|item| network_of(item.trim())).collect::<Result<_, _>>()?;
        // Several networks may together cover every address.
        if IpNet::aggregate(&nets).iter().any(|net| net.prefix_len() == 0) {
            return Err(ProxyListError::Everybody(text.trim().to_owned()));
        }
        Ok(Self(nets))
    }
}

fn network_of(item: &str) -> Result<IpNet, ProxyListError> {
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

/// Converts an IPv4-mapped IPv6 network to IPv4, as client addresses are converted before they are compared.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    match (v6.trunc().addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(v4), Some(prefix)) => Ipv4Net::new(v4, prefix).map_or(net, IpNet::V4),
        _ => net,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_network_is_stored_as_ipv4() {
        let read = |text: &str| text.parse::<ProxyNetworks>().unwrap().to_string();
        assert_eq!(read("::ffff:10.0.0.0/104"), "10.0.0.0/8");
        assert_eq!(read("::ffff:10.0.0.1, 2001:db8::1/32"), "10.0.0.1/32,2001:db8::/32");
    }

    #[test]
    fn the_error_names_the_item_that_covers_every_address_or_cannot_be_parsed() {
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
            let error = everybody.parse::<ProxyNetworks>().unwrap_err();
            assert!(matches!(error, ProxyListError::Everybody(_)), "{everybody}: {error}");
        }
        for half in ["0.0.0.0/1,10.0.0.0/8", "0.0.0.0/1,::/1", "0.0.0.0/2,128.0.0.0/1"] {
            assert!(half.parse::<ProxyNetworks>().is_ok(), "{half}");
        }
        for (list, item) in
            [("10.0.0.0/8,nonsense", "nonsense"), ("10.0.0.0/33", "10.0.0.0/33"), ("1.2.3.4,", "")]
        {
            let error = list.parse::<ProxyNetworks>().unwrap_err();
            assert_eq!(error, ProxyListError::Unreadable(item.to_owned()));
        }
        assert_eq!(" ".parse::<ProxyNetworks>().unwrap(), ProxyNetworks::default());
    }
}
