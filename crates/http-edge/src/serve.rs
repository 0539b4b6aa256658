//! The accept loop: HTTP/1.1 on hyper, bounded in connections, heads and waits, and drained on shutdown.
//!
//! States: *accepting*, until the shutdown future is done; *draining*, in which the listener is closed, idle
//! connections are closed at once and busy ones after their answer; *done*, when all are gone or the drain's limit
//! has passed and the rest was cut. Failing to accept one connection is never fatal: a client that gave up is
//! nothing, and running out of file descriptors is logged and waited out.

use crate::error::ApiError;
use crate::host;
use crate::stream::{BoundedStream, Bounds, Handling, Phase};
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequestParts, Request};
use axum::response::Response;
use axum::routing::future::RouteFuture;
use bytes::Bytes;
use http::request::Parts;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

/// Pause after a failed accept, in which file descriptors may come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bounds of a server.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Most connections at once; further ones wait unaccepted. Default 10,000.
    pub max_connections: NonZeroUsize,
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
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let peer = parts.extensions.get::<Self>().copied();
        peer.ok_or_else(|| ApiError::internal("the router is not served by the edge: no peer address"))
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
    let slots = Arc::new(Semaphore::new(config.max_connections.get().min(Semaphore::MAX_PERMITS)));
    let connections = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let (tcp, peer, slot) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        connections.spawn(server.clone().connection(tcp, peer, slot));
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

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                // a refusal costs latency, not correctness
                let _ = tcp.set_nodelay(true);
                return (tcp, peer, slot);
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

#[derive(Clone)]
struct Server {
    app: Router,
    http: http1::Builder,
    bounds: Bounds,
    finish: CancellationToken,
    cut: CancellationToken,
}

impl Server {
    fn new(app: Router, config: &ServeConfig) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_header_size(config.max_header_bytes)
            .max_buf_size(config.max_header_bytes.saturating_mul(2).max(32 * 1024));
        let bounds =
            Bounds { idle: config.idle_timeout, head: config.header_timeout, write: config.write_timeout };
        Self { app, http, bounds, finish: CancellationToken::new(), cut: CancellationToken::new() }
    }

    /// One connection from its first byte to its last; an error is the client's affair and ends it.
    async fn connection(self, tcp: TcpStream, peer: SocketAddr, slot: OwnedSemaphorePermit) {
        let phase = Phase::default();
        let io = TokioIo::new(BoundedStream::new(tcp, self.bounds, phase.clone()));
        let service = ConnectionService { app: self.app, peer: PeerAddr(peer), phase };
        let mut connection = pin!(self.http.serve_connection(io, service));
        tokio::select! {
            biased;
            _ = connection.as_mut() => return drop(slot),
            () = self.finish.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            biased;
            _ = connection => {}
            () = self.cut.cancelled() => {}
        }
    }
}

/// The app as seen by one connection.
struct ConnectionService {
    app: Router,
    peer: PeerAddr,
    phase: Phase,
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<HeldBody>;
    type Error = Infallible;
    type Future = Handled;

    fn call(&self, mut request: Request<Incoming>) -> Handled {
        let handling = self.phase.begin();
        request.extensions_mut().insert(self.peer);
        if let Err(unfit) = host::check(request.version(), request.headers()) {
            request.extensions_mut().insert(unfit);
        }
        Handled { future: self.app.clone().call(request.map(Body::new)), handling: Some(handling) }
    }
}

/// The answer to one request, and the mark that it is being worked on.
struct Handled {
    future: RouteFuture<Infallible>,
    handling: Option<Handling>,
}

impl Future for Handled {
    type Output = Result<Response<HeldBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.future).poll(cx))?;
        let handling = self.handling.take();
        Poll::Ready(Ok(response.map(|body| HeldBody { body, _handling: handling })))
    }
}

/// A response's body that holds the mark until it is sent: a long export is no idle connection.
struct HeldBody {
    body: Body,
    _handling: Option<Handling>,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
