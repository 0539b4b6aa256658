//! A TCP proxy that fails on command, to stand between a client and its Redis.
//!
//! States: passing; stalled (both ways or replies only); cut (links closed, port refuses); and armed, that is
//! waiting for one request whose reply shall be lost. `heal` leads back to passing from any of them.
//!
//! Every byte is written under the lock that guards the state, so a change holds from the instant the call
//! returns: after `stall()` no byte passes, after `cut()` no link is open and none can be made.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::mem::take;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use rustix::net::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::port::ReservedPort;

/// Links beyond this wait in the listener's backlog.
const MAX_LINKS: usize = 1_024;
const CHUNK: usize = 64 * 1_024;

/// A proxy in front of one address. Its tasks and links end when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    port: ReservedPort,
    runtime: Handle,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

impl FaultProxy {
    /// A passing proxy on a free port of 127.0.0.1. `upstream` need not be up yet.
    pub async fn start(upstream: SocketAddr) -> Self {
        let port = ReservedPort::new();
        let state = State { listener: Some(port.listen()), upstream: Some(upstream), ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: watch::Sender::new(()) });
        let acceptor = tokio::spawn(accept_links(Arc::clone(&shared)));
        Self { port, runtime: Handle::current(), shared, acceptor }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// `redis://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// Leads links that are made from now on to another server, as a name does after a failover; those that
    /// are open stay.
    pub fn lead_to(&self, upstream: SocketAddr) {
        self.shared.update(|state| state.upstream = Some(upstream));
    }

    /// Closes all links and refuses new ones, until healed.
    pub fn cut(&self) {
        self.shared.update(State::cut);
    }

    /// Undoes every fault: listens again, lets through what was held back, no delay, nothing armed.
    pub fn heal(&self) {
        self.shared.update(|state| {
            if state.listener.is_none() {
                let _context = self.runtime.enter();
                state.listener = Some(self.port.listen());
            }
            state.hold_requests = false;
            state.hold_replies = false;
            state.delay = Duration::ZERO;
            state.lose_next_reply = false;
        });
    }

    /// Links stay open and new ones are taken, but no byte passes either way; they are held back, not lost.
    pub fn stall(&self) {
        self.shared.update(|state| {
            state.hold_requests = true;
            state.hold_replies = true;
        });
    }

    /// Requests pass, replies are held back.
    pub fn stall_replies(&self) {
        self.shared.update(|state| state.hold_replies = true);
    }

    /// Every chunk that arrives from now on waits that long before it is passed on, each way.
    pub fn delay(&self, by: Duration) {
        self.shared.update(|state| state.delay = by);
    }

    /// The next request, on whichever link it comes, reaches upstream and is carried out; its reply is
    /// discarded and that one link closed. Other links, and later ones, are as before.
    ///
    /// A client's greeting is a request too: let it connect first. Replies to earlier requests that are still
    /// under way on that link are lost with it.
    pub fn drop_replies_and_cut_after_next_request(&self) {
        self.shared.update(|state| state.lose_next_reply = true);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.cut();
        self.acceptor.abort();
    }
}

#[derive(Debug, Default)]
struct State {
    listener: Option<TcpListener>,
    upstream: Option<SocketAddr>,
    links: HashMap<u64, Vec<Arc<TcpStream>>>,
    next_link: u64,
    hold_requests: bool,
    hold_replies: bool,
    lose_next_reply: bool,
    delay: Duration,
}

impl State {
    fn cut(&mut self) {
        // Dropping alone would not do while a child that another test has forked holds a copy.
        if let Some(listener) = self.listener.take() {
            shut(&listener, Shutdown::Both);
        }
        for socket in self.links.drain().flat_map(|(_, sockets)| sockets) {
            shut(&socket, Shutdown::Both);
        }
    }

    fn holds(&self, direction: Direction) -> bool {
        match direction {
            Direction::Requests => self.hold_requests,
            Direction::Replies => self.hold_replies,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Replies,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic happens while the proxy's state is held")
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.send_replace(());
    }
}

/// An error means that the socket is no longer connected, which is what was asked for.
fn shut(socket: &impl AsFd, how: Shutdown) {
    let _ = rustix::net::shutdown(socket, how);
}

async fn accept_links(shared: Arc<Shared>) {
    let mut changed = shared.changed.subscribe();
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            (id, client) = next_client(&shared), if links.len() < MAX_LINKS => {
                links.spawn(serve_link(Arc::clone(&shared), id, client));
            }
            Some(_) = links.join_next() => {}
            _ = changed.changed() => {}
        }
    }
}

/// The next client, entered among the links in the same breath, so that no cut can miss it.
async fn next_client(shared: &Shared) -> (u64, Arc<TcpStream>) {
    poll_fn(|context| {
        let mut state = shared.lock();
        let client = match state.listener.as_ref().map(|listener| listener.poll_accept(context)) {
            Some(Poll::Ready(Ok((client, _)))) => Arc::new(client),
            Some(Poll::Ready(Err(_))) => {
                // That client is gone; there may be others.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Poll::Pending) | None => return Poll::Pending,
        };
        let id = state.next_link;
        state.next_link += 1;
        state.links.insert(id, vec![Arc::clone(&client)]);
        Poll::Ready((id, client))
    })
    .await
}

async fn serve_link(shared: Arc<Shared>, id: u64, client: Arc<TcpStream>) {
    let upstream = shared.lock().upstream.expect("a proxy has an upstream");
    if let Ok(server) = TcpStream::connect(upstream).await {
        let server = Arc::new(server);
        let still_wanted =
            shared.lock().links.get_mut(&id).map(|ends| ends.push(Arc::clone(&server))).is_some();
        if still_wanted {
            // Small packets must not wait for each other: that would be a fault nobody asked for.
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            let link =
                Link { shared: Arc::clone(&shared), client, server, loses_reply: AtomicBool::new(false) };
            tokio::join!(link.pass_requests(), link.pass_replies());
        }
    }
    shared.lock().links.remove(&id);
}

struct Link {
    shared: Arc<Shared>,
    client: Arc<TcpStream>,
    server: Arc<TcpStream>,
    loses_reply: AtomicBool,
}

impl Link {
    /// Ends with the client; the server is then told that no more will come, and may still reply.
    async fn pass_requests(&self) {
        let _ = self.pump(Direction::Requests).await;
        shut(&self.server, Shutdown::Write);
    }

    /// Ends with the server, and the whole link with it.
    async fn pass_replies(&self) {
        let _ = self.pump(Direction::Replies).await;
        shut(&self.server, Shutdown::Both);
        shut(&self.client, Shutdown::Both);
    }

    async fn pump(&self, direction: Direction) -> io::Result<()> {
        let (from, to) = match direction {
            Direction::Requests => (&self.client, &self.server),
            Direction::Replies => (&self.server, &self.client),
        };
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = read_some(from, &mut buffer).await?;
            let delay = self.shared.lock().delay;
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            self.write(direction, to, &buffer[..length]).await?;
            if self.discards(direction) {
                return self.finish_unheard(&mut buffer).await;
            }
            if length == 0 {
                return Ok(());
            }
        }
    }

    /// Writes once nothing holds the direction back. No bytes at all stands for the end, which waits
    /// likewise.
    async fn write(&self, direction: Direction, to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.borrow_and_update();
            match self.try_write(direction, to, bytes) {
                None => {
                    let _ = changed.changed().await;
                }
                Some(Ok(written)) if written == bytes.len() => return Ok(()),
                Some(Ok(written)) => bytes = &bytes[written..],
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
                Some(Err(error)) => return Err(error),
            }
        }
    }

    fn discards(&self, direction: Direction) -> bool {
        direction == Direction::Replies && self.loses_reply.load(Ordering::SeqCst)
    }

    /// `None`: held back.
    fn try_write(&self, direction: Direction, to: &TcpStream, bytes: &[u8]) -> Option<io::Result<usize>> {
        let mut state = self.shared.lock();
        if self.discards(direction) {
            return Some(Ok(bytes.len()));
        }
        if state.holds(direction) {
            return None;
        }
        if bytes.is_empty() {
            return Some(Ok(0));
        }
        let written = to.try_write(bytes);
        if direction == Direction::Requests && written.is_ok() && take(&mut state.lose_next_reply) {
            self.loses_reply.store(true, Ordering::SeqCst);
        }
        Some(written)
    }

    /// Lets the server carry out all it was sent: no more requests, its replies read and forgotten, up to its
    /// own goodbye. Closing with replies unread would reset the link and could undo the request itself.
    async fn finish_unheard(&self, buffer: &mut [u8]) -> io::Result<()> {
        shut(&self.server, Shutdown::Write);
        while read_some(&self.server, buffer).await? > 0 {}
        Ok(())
    }
}

/// Zero bytes: the other end is done.
async fn read_some(from: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        from.readable().await?;
        match from.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}
