//! The accept loop: HTTP/1.1 on hyper, bounded in connections, heads and waits, and drained on shutdown.
//!
//! States: *accepting*, until the shutdown future is done; *draining*, in which the listener is closed, idle
//! connections are closed at once and busy ones after their answer; *done*, when all are gone or the drain's limit
//! has passed and the rest was cut. Failing to accept one connection is never fatal: a client that gave up is
//! nothing, and running out of file descriptors is logged and waited out.

use crate::client_ip::TrustedProxies;
use crate::connection::Server;
use crate::connections::{Connection, ConnectionMetrics, Connections};
use crate::error::HttpError;
use axum::Router;
use axum::extract::FromRequestParts;
use http::request::Parts;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;

/// Connections that the kernel keeps while they wait to be accepted.
const BACKLOG: u32 = 1_024;

/// Pause after a failed accept, in which file descriptors may come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The answer to a client that has as many connections as it may have.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 1\r\n\r\n";

/// The bounds of a server.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Most connections at once. For a further one the connection that is idle for longest is closed; if none is idle, it
    /// waits. Default 10,000.
    pub max_connections: NonZeroUsize,
    /// Most connections of one client, by IPv4 address or IPv6 /64; a further one gets a bare 429. Default 256.
    pub max_connections_per_client: NonZeroUsize,
    /// Proxies, which have no bound of their own: their connections are those of many clients. Default none.
    pub proxies: TrustedProxies,
    /// Where connections are counted.
    pub metrics: ConnectionMetrics,
    /// Longest time for a request's head, else the connection is dropped. Default 5 s.
    pub header_timeout: Duration,
    /// Longest time a connection may idle between requests: longer than a load balancer's in front. Default 75 s.
    pub idle_timeout: Duration,
    /// Longest time without the client taking any byte of a response, else the connection is dropped. It bounds a
    /// client that stops reading; one that reads a little now and then is bounded by `max_connections` alone.
    /// Default 30 s.
    pub write_timeout: Duration,
    /// Longest head in bytes, else a bare 431. Default 16 KiB; hyper takes at most 100 header lines.
    pub max_header_bytes: usize,
    /// Longest time for requests in flight to end after the shutdown, else they are cut. Default 10 s.
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

/// How the drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy at the drain's limit, and were cut.
    pub cut: usize,
}

/// The address at the other end of the connection: a client, or a proxy (see [`crate::TrustedProxies`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

impl<S: Sync> FromRequestParts<S> for PeerAddr {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, HttpError> {
        let peer = parts.extensions.get::<Self>().copied();
        peer.ok_or_else(|| HttpError::internal("the router is not served by the edge: no peer address"))
    }
}

/// Serves `app` on `listener` until `shutdown` is done, then drains.
///
/// Returns when the last connection is gone, at the latest `config.drain` after the shutdown.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    config: ServeConfig,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let server = Server::new(app.with_state(()), &config);
    let table = Connections::new(&config);
    let connections = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (tcp, peer, admitted) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            admitted = admit(&listener, &table) => admitted,
        };
        connections.spawn(server.clone().connection(tcp, peer, admitted));
    }
    drop(listener);
    connections.close();
    tracing::info!(connections = connections.len(), "shutting down: no new connections");
    server.finish.cancel();
    let drained = tokio::time::timeout(config.drain, connections.wait()).await;
    let cut = if drained.is_ok() { 0 } else { connections.len() };
    server.cut.cancel();
    connections.wait().await;
    if cut > 0 {
        tracing::warn!(connections = cut, "shut down: requests were cut at the drain's limit");
    }
    Drained { cut }
}

/// Listens on `bind`. A port that was just left can be listened on again at once.
///
/// # Errors
///
/// The operating system's, e.g. that the address is in use.
pub fn listen(bind: SocketAddr) -> io::Result<TcpListener> {
    let socket = if bind.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(bind)?;
    socket.listen(BACKLOG)
}

/// Done at the first `SIGTERM` or `SIGINT` after this call.
///
/// # Errors
///
/// The operating system's, when a handler cannot be installed.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "asked to shut down");
    })
}

/// The next connection that there is room for.
async fn admit(listener: &TcpListener, table: &Arc<Connections>) -> (TcpStream, SocketAddr, Connection) {
    loop {
        let (tcp, peer) = accept(listener).await;
        match table.admit(peer.ip()).await {
            Some(admitted) => return (tcp, peer, admitted),
            None => {
                // all or nothing, and never waited for
                let _ = tcp.try_write(TOO_MANY);
            }
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                // a refusal costs latency, not correctness
                let _ = tcp.set_nodelay(true);
                return (tcp, peer);
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; waiting");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted)
}
