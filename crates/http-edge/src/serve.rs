//! The accept loop: HTTP/1.1 on hyper with bounded connections, heads and waits, and a drain at shutdown.
//!
//! The server *accepts* connections until the shutdown future completes. Then it *drains*: it closes the
//! listener and the idle connections at once, and a busy connection after its response. It is *done* when all
//! connections are closed, or when the drain timeout has passed and it has cut the rest. A failed accept
//! never stops the server: it ignores clients that have gone, and waits if file descriptors run out.

use crate::connection::Server;
use crate::connections::{Connection, Connections};
use crate::serve_config::ServeConfig;
use axum::Router;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;

/// The number of connections that the kernel queues until they are accepted.
const BACKLOG: u32 = 1_024;

/// The pause after a failed accept, to let file descriptors become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The response to a client at its limit of connections.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 1\r\n\r\n";

/// The result of the drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// The number of connections that were cut because they were busy at the drain timeout.
    pub cut: usize,
}

/// Serves `app` on `listener` until `shutdown` completes, then drains.
///
/// Returns when the last connection is closed, at the latest `config.drain` after the shutdown.
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
    tracing::info!(connections = connections.len(), "draining connections");
    server.finish.cancel();
    let drained = tokio::time::timeout(config.drain, connections.wait()).await;
    let cut = if drained.is_ok() { 0 } else { connections.len() };
    server.cut.cancel();
    connections.wait().await;
    if cut > 0 {
        tracing::warn!(connections = cut, "drain timeout: connections cut");
    }
    Drained { cut }
}

/// Listens on `bind`. A restarted process can use the port again at once.
///
/// # Errors
///
/// Returns the error of the operating system, e.g. if the address is in use.
pub fn listen(bind: SocketAddr) -> io::Result<TcpListener> {
    let socket = if bind.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(bind)?;
    socket.listen(BACKLOG)
}

/// Returns a future that completes at the first `SIGTERM` or `SIGINT` after this call.
///
/// # Errors
///
/// Fails if a signal handler cannot be installed.
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "shutdown signal received");
    })
}

/// Returns the next connection that the limits admit.
async fn admit(listener: &TcpListener, table: &Arc<Connections>) -> (TcpStream, SocketAddr, Connection) {
    loop {
        let (tcp, peer) = accept(listener).await;
        match table.admit(peer.ip()).await {
            Some(admitted) => return (tcp, peer, admitted),
            None => {
                // The response is optional, so never wait for the client.
                let _ = tcp.try_write(TOO_MANY);
            }
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                // A failure costs latency, not correctness.
                let _ = tcp.set_nodelay(true);
                return (tcp, peer);
            }
            Err(error) if is_client_error(&error) => {}
            Err(error) => {
                tracing::error!(%error, "accept failed, waiting");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted)
}
