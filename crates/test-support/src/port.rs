//! A port of one's own: a socket that is bound and never listens keeps the kernel from giving the port to
//! anybody else, while a listener that sets `SO_REUSEADDR` (redis-server does, and so do we) may still bind it.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

const BACKLOG: u32 = 1_024;

/// Holds a port on 127.0.0.1 until dropped, whether or not anybody listens on it.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    addr: SocketAddr,
    _held: TcpSocket,
}

impl ReservedPort {
    pub(crate) fn new() -> Self {
        let held = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let addr = held.local_addr().expect("a bound socket has an address");
        Self { addr, _held: held }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Listens on the port. Needs a tokio runtime's context.
    pub(crate) fn listen(&self) -> TcpListener {
        bound(self.addr).listen(BACKLOG).expect("nobody else listens on a reserved port")
    }
}

fn bound(addr: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a TCP socket");
    socket.set_reuseaddr(true).expect("SO_REUSEADDR can be set on a TCP socket");
    socket.bind(addr).unwrap_or_else(|error| panic!("cannot bind {addr}: {error}"));
    socket
}
