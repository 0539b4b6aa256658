//! The addresses of a service, its public URL, and the bounds of its connections.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use http_edge::{Listening, ServeConfig, TrustedProxies};

use crate::{Env, EnvError, Kind, ProxyNetworks, base_url, bind_address, non_zero_usize, seconds, switch};

/// The highest number of connections that an operator can set.
const MOST_CONNECTIONS: u32 = 1_000_000;
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");
const MAX_CONNECTIONS_PER_CLIENT: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
/// Longer than the 60 s after which common load balancers close an idle connection, so that they close first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The addresses of a service and the bounds of its connections.
#[derive(Debug, Clone)]
pub struct WebSettings {
    /// `BIND_ADDR`: the address on which the service listens.
    pub bind: SocketAddr,
    /// `METRICS_BIND_ADDR`: the address of `/metrics`, if it differs from `bind`.
    pub metrics_bind: Option<SocketAddr>,
    /// `PUBLIC_BASE_URL`, without a slash at its end: the start of the URL in a tag's QR code. It has no
    /// default, because it is printed on labels.
    pub public_base_url: Option<String>,
    /// `TRUSTED_PROXIES`: the proxies whose forwarded client addresses are trusted.
    pub proxies: ProxyNetworks,
    /// `METRICS_PUBLIC`: whether `/metrics` may listen on an address other than loopback.
    pub metrics_public: bool,
    /// `MAX_CONNECTIONS`: the limit of open connections.
    pub max_connections: NonZeroUsize,
    /// `MAX_CONNECTIONS_PER_CLIENT`: the limit of open connections from one address.
    pub max_connections_per_client: NonZeroUsize,
    /// `KEEP_ALIVE_SECS`: how long a connection may be idle between requests.
    pub keep_alive: Duration,
}

impl WebSettings {
    /// Reads the section. `default_bind` differs between the services.
    ///
    /// # Errors
    /// Fails if a variable cannot be parsed, or if both addresses are the same.
    pub fn from_env(env: &Env, default_bind: SocketAddr) -> Result<Self, EnvError> {
        let connections = |name, default| env.get(name, default, &non_zero_usize(MOST_CONNECTIONS));
        let settings = Self {
            bind: env.get("BIND_ADDR", default_bind, &bind_address())?,
            metrics_bind: env.optional("METRICS_BIND_ADDR", &bind_address())?,
            public_base_url: env.optional("PUBLIC_BASE_URL", &base_url())?,
            proxies: env.optional("TRUSTED_PROXIES", &proxy_networks())?.unwrap_or_default(),
            metrics_public: env.get("METRICS_PUBLIC", false, &switch())?,
            max_connections: connections("MAX_CONNECTIONS", MAX_CONNECTIONS)?,
            max_connections_per_client: connections(
                "MAX_CONNECTIONS_PER_CLIENT",
                MAX_CONNECTIONS_PER_CLIENT,
            )?,
            keep_alive: env.get("KEEP_ALIVE_SECS", KEEP_ALIVE, &seconds(1..=3_600))?,
        };
        if settings.bind.port() != 0 && settings.metrics_bind == Some(settings.bind) {
            return Err(EnvError::Contradiction {
                names: "BIND_ADDR and METRICS_BIND_ADDR".to_owned(),
                why: format!(
                    "both are {}; leave the second unset to serve /metrics on the first",
                    settings.bind
                ),
            });
        }
        Ok(settings)
    }

    /// Returns the addresses on which the service listens, and the bounds of its connections. A bound that
    /// no variable sets has the default of [`ServeConfig`].
    #[must_use]
    pub fn listening(&self) -> Listening {
        let server = ServeConfig {
            max_connections: self.max_connections,
            max_connections_per_client: self.max_connections_per_client,
            proxies: self.trusted_proxies(),
            idle_timeout: self.keep_alive,
            ..ServeConfig::default()
        };
        let Self { bind, metrics_bind, metrics_public, .. } = *self;
        Listening { bind, metrics_bind, metrics_public, server }
    }

    /// Returns the proxies whose forwarded client addresses are trusted.
    #[must_use]
    pub fn trusted_proxies(&self) -> TrustedProxies {
        TrustedProxies::new(self.proxies.networks().iter().copied())
    }
}

fn proxy_networks() -> Kind<ProxyNetworks> {
    Kind::parsed("IP addresses and CIDRs separated by commas, none of them /0").shown_as(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<WebSettings, EnvError> {
        WebSettings::from_env(&pairs.iter().copied().collect(), "127.0.0.1:8080".parse().unwrap())
    }

    #[test]
    fn two_listeners_on_one_address_contradict_each_other() {
        let both = [("BIND_ADDR", "127.0.0.1:9"), ("METRICS_BIND_ADDR", "127.0.0.1:9")];
        let error = read(&both).unwrap_err().to_string();
        assert!(error.contains("BIND_ADDR and METRICS_BIND_ADDR"), "{error}");
    }

    #[test]
    fn connection_bounds_have_the_documented_defaults_and_errors_name_a_wrong_value() {
        let defaults = read(&[]).unwrap();
        assert_eq!(defaults.max_connections.get(), 10_000);
        assert_eq!(defaults.max_connections_per_client.get(), 256);
        assert_eq!(defaults.keep_alive, Duration::from_secs(75));
        let set = [("MAX_CONNECTIONS", "7"), ("MAX_CONNECTIONS_PER_CLIENT", "3"), ("KEEP_ALIVE_SECS", "600")];
        let settings = read(&set).unwrap();
        assert_eq!((settings.max_connections.get(), settings.max_connections_per_client.get()), (7, 3));
        assert_eq!(settings.keep_alive, Duration::from_secs(600));
        for (name, wrong) in set.iter().map(|(name, _)| (*name, "0")).chain([("METRICS_PUBLIC", "maybe")]) {
            let error = read(&[(name, wrong)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(wrong) && error.contains("takes"), "{error}");
        }
    }

    #[test]
    fn the_server_listens_where_the_settings_say_and_with_their_bounds() {
        let set = [
            ("BIND_ADDR", "127.0.0.1:9000"),
            ("METRICS_BIND_ADDR", "127.0.0.1:9001"),
            ("METRICS_PUBLIC", "true"),
            ("MAX_CONNECTIONS", "7"),
            ("MAX_CONNECTIONS_PER_CLIENT", "3"),
            ("KEEP_ALIVE_SECS", "600"),
            ("TRUSTED_PROXIES", "10.0.0.0/8"),
        ];
        let settings = read(&set).unwrap();
        let Listening { bind, metrics_bind, metrics_public, server } = settings.listening();
        assert_eq!((bind, metrics_bind), ("127.0.0.1:9000".parse().unwrap(), "127.0.0.1:9001".parse().ok()));
        assert!(metrics_public);
        assert_eq!((server.max_connections.get(), server.max_connections_per_client.get()), (7, 3));
        assert_eq!(server.idle_timeout, Duration::from_secs(600));
        let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
        assert_eq!((&server.proxies, &settings.trusted_proxies()), (&proxies, &proxies));
    }

    #[test]
    fn the_error_of_a_proxy_list_is_one_line_and_names_the_wrong_item() {
        assert_eq!(read(&[("TRUSTED_PROXIES", "")]).unwrap().proxies, ProxyNetworks::default());
        assert_eq!(read(&[("TRUSTED_PROXIES", "10.0.0.0/8, ::1")]).unwrap().proxies.networks().len(), 2);
        for (list, says) in [
            ("10.0.0.0/8,0.0.0.0/0", r#""0.0.0.0/0" covers every address"#),
            ("proxy.local", r#""proxy.local" is neither an IP address nor a CIDR"#),
            ("10.0.0.0/8,\n/0", "is neither"),
        ] {
            let error = read(&[("TRUSTED_PROXIES", list)]).unwrap_err().to_string();
            assert!(error.starts_with("TRUSTED_PROXIES is ") && error.contains(says), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
