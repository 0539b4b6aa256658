//! The bounds of a server.

use crate::client_ip::TrustedProxies;
use crate::connection_metrics::ConnectionMetrics;
use std::num::NonZeroUsize;
use std::time::Duration;

/// The bounds of a server.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The limit of open connections. A further one displaces the connection that has been idle for longest,
    /// or waits if none is idle. Default: 10,000.
    pub max_connections: NonZeroUsize,
    /// The limit of open connections per IPv4 address or IPv6 /64. A further one gets a bare 429. Default:
    /// 256.
    pub max_connections_per_client: NonZeroUsize,
    /// Proxies, which have no limit per client, because they connect for many clients. Default: none.
    pub proxies: TrustedProxies,
    /// The metrics of connections.
    pub metrics: ConnectionMetrics,
    /// The time limit of a request's head, after which the connection is closed. Default: 5 s.
    pub header_timeout: Duration,
    /// How long a connection may be idle between requests. Must be longer than the idle timeout of a load
    /// balancer in front. Default: 75 s.
    pub idle_timeout: Duration,
    /// How long a client may read no byte of a response before the connection is closed. A client that reads
    /// slowly is bounded only by `max_connections`. Default: 30 s.
    pub write_timeout: Duration,
    /// The length limit of a head in bytes, else a bare 431. Default: 16 KiB. hyper allows at most 100 header
    /// lines.
    pub max_header_bytes: usize,
    /// How long requests in flight may take to complete after the shutdown signal, before they are cut.
    /// Default: 10 s.
    pub drain: Duration,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            max_connections: NonZeroUsize::new(10_000).expect("10,000 is not zero"),
            max_connections_per_client: NonZeroUsize::new(256).expect("256 is not zero"),
            proxies: TrustedProxies::default(),
            metrics: ConnectionMetrics::default(),
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            max_header_bytes: 16 * 1024,
            drain: Duration::from_secs(10),
        }
    }
}
