//! The HTTP server's configuration, from the settings that both services share.

use http_edge::{Listening, ServeConfig, TrustedProxies};
use settings::WebSettings;

/// Where the service listens, and the bounds of its connections.
#[must_use]
pub fn listening(web: &WebSettings) -> Listening {
    let server = ServeConfig {
        max_connections: web.max_connections,
        max_connections_per_client: web.max_connections_per_client,
        proxies: trusted_proxies(web),
        idle_timeout: web.keep_alive,
        ..ServeConfig::default()
    };
    let WebSettings { bind, metrics_bind, metrics_public, .. } = *web;
    Listening { bind, metrics_bind, metrics_public, server }
}

/// The proxies whose forwarded client addresses are used.
#[must_use]
pub fn trusted_proxies(web: &WebSettings) -> TrustedProxies {
    TrustedProxies::new(web.proxies.networks().iter().copied())
}
