//! A port of one's own: a socket that is bound and never listens keeps the kernel from giving the port to
//! anybody else, while a listener that sets `SO_REUSEADDR` (redis-server does, and so do we) may still bind
//! it.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

const BACKLOG: u32 = 1_024;
/// How often, and how long apart, listening on a reserved port is tried: 5 s in all.
const LISTEN_TRIES: u32 = 2_500;
const LISTEN_PAUSE: Duration = Duration::from_millis(2);

/// Holds a port on 127.0.0.1 until dropped, whether or not anybody listens on it.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    addr: SocketAddr,
    _held: TcpSocket,
}

impl ReservedPort {
    pub(crate) fn new() -> Self {
        let held =
            bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("there is a free port on 127.0.0.1");
        let addr = held.local_addr().expect("a bound socket has an address");
        Self { addr, _held: held }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Listens on the port. Needs a tokio runtime's context.
    ///
    /// A listener that was just closed may live on for a moment in a child that another test has forked and
    /// that has not yet become its program; until then the kernel says that the address is in use.
    pub(crate) fn listen(&self) -> TcpListener {
        for _ in 0..LISTEN_TRIES {
            match listening(self.addr) {
                Ok(listener) => return listener,
                Err(error) if error.kind() == ErrorKind::AddrInUse => std::thread::sleep(LISTEN_PAUSE),
                Err(error) => panic!("cannot listen on {}: {error}", self.addr),
            }
        }
        panic!("{} was still in use after {:?}", self.addr, LISTEN_PAUSE * LISTEN_TRIES);
    }
}

fn listening(addr: SocketAddr) -> io::Result<TcpListener> {
    bound(addr)?.listen(BACKLOG)
}

fn bound(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}
