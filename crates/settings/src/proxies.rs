//! The list of trusted proxies as a setting.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// The networks of the trusted proxies. IPv4-mapped IPv6 networks are held as the IPv4 networks they are.
/// The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyNetworks(Vec<IpNet>);

/// A list of proxies that cannot be used. It names the item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyListError {
    /// Neither an address nor a CIDR.
    #[error("{0:?} is neither an IP address nor a CIDR")]
    Unreadable(String),
    /// It would trust every client.
    #[error("{0:?} covers every address")]
    Everybody(String),
}

impl ProxyNetworks {
    /// The networks, each without host bits.
    #[must_use]
    pub fn networks(&self) -> &[IpNet] {
        &self.0
    }
}

/// In the form that [`FromStr`] reads.
impl fmt::Display for ProxyNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nets: Vec<String> = self.0.iter().map(IpNet::to_string).collect();
        f.write_str(&nets.join(","))
    }
}

impl FromStr for ProxyNetworks {
    type Err = ProxyListError;

    /// Reads addresses and CIDRs separated by commas; an empty text trusts nobody.
    fn from_str(text: &str) -> Result<Self, ProxyListError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let nets: Vec<IpNet> =
            text.split(',').map(|item| network_of(item.trim())).collect::<Result<_, _>>()?;
        // Several networks that together cover everything are a `/0` in disguise.
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

/// An IPv4-mapped IPv6 network as IPv4: clients' addresses are compared after the same conversion.
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
    fn a_mapped_network_is_held_as_ipv4() {
        let read = |text: &str| text.parse::<ProxyNetworks>().unwrap().to_string();
        assert_eq!(read("::ffff:10.0.0.0/104"), "10.0.0.0/8");
        assert_eq!(read("::ffff:10.0.0.1, 2001:db8::1/32"), "10.0.0.1/32,2001:db8::/32");
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
