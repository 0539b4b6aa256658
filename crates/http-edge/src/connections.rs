//! The table of open connections, with a limit per client and a total limit.
//!
//! At the limit of its client a new connection is rejected. At the total limit the connection that has been
//! idle for longest is closed in favour of the new one, so that idle connections keep no client out. If none
//! is idle, the new connection waits. Both are counted, and logged once per episode: an episode ends after a
//! minute without either.

use crate::client_ip::TrustedProxies;
use crate::connection_metrics::{ConnectionMetrics, ObservedConnections};
use crate::phase::Phase;
use crate::serve_config::ServeConfig;
use ambient::{Clock, SystemClock};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How long to wait for a displaced connection to close before another is displaced.
const DISPLACED_WITHIN: Duration = Duration::from_secs(1);

/// The pause between two searches for an idle connection when all are busy.
const RETRY: Duration = Duration::from_millis(50);

/// An episode ends after this time without an event.
const EPISODE_QUIET: Duration = Duration::from_secs(60);

/// How many idle connections one search collects, so that not every displacement searches all connections.
const CANDIDATES: usize = 64;

/// The client of a connection: an IPv4 address, or the first address of an IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Client(IpAddr);

impl Client {
    fn of(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            v4 @ IpAddr::V4(_) => Self(v4),
            IpAddr::V6(v6) => Self(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into()),
        }
    }
}

/// The table of open connections.
#[derive(Debug)]
pub(crate) struct Connections {
    permits: Arc<Semaphore>,
    limit: usize,
    per_client: usize,
    proxies: TrustedProxies,
    metrics: ConnectionMetrics,
    clock: Arc<SystemClock>,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    clients: HashMap<Client, usize>,
    open: HashMap<u64, Open>,
    next: u64,
    /// Connections that were idle for longest at the last search, longest first, each with the start of its
    /// idle time. Each is checked again before it is displaced.
    longest_idle: VecDeque<(u64, u64)>,
    client_episode: Option<Duration>,
    total_episode: Option<Duration>,
}

#[derive(Debug)]
struct Open {
    phase: Phase,
    displaced: CancellationToken,
}

/// One of the connections that a client may have.
#[derive(Debug)]
struct Share {
    connections: Arc<Connections>,
    /// `None` for a proxy, which has no limit.
    client: Option<Client>,
}

/// An open connection. Dropping it removes it from the table.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    phase: Phase,
    displaced: CancellationToken,
    share: Share,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(crate) fn new(config: &ServeConfig) -> Arc<Self> {
        let limit = config.max_connections.get().min(Semaphore::MAX_PERMITS);
        config.metrics.set_limit(limit);
        let connections = Arc::new(Self {
            permits: Arc::new(Semaphore::new(limit)),
            limit,
            per_client: config.max_connections_per_client.get().min(limit),
            proxies: config.proxies.clone(),
            metrics: config.metrics.clone(),
            clock: Arc::new(SystemClock::new()),
            table: Mutex::default(),
        });
        let observed: Weak<dyn ObservedConnections> = Arc::<Self>::downgrade(&connections);
        config.metrics.observe(observed);
        connections
    }

    /// Admits a connection from `peer`, and waits at the total limit. Returns `None` at the limit of its
    /// client.
    pub(crate) async fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Connection> {
        let share = self.share(peer)?;
        let permit = self.permit().await;
        let (phase, displaced) = (Phase::begun(&self.clock), CancellationToken::new());
        let mut table = self.table.lock();
        let id = table.next;
        table.next += 1;
        table.open.insert(id, Open { phase: phase.clone(), displaced: displaced.clone() });
        drop(table);
        self.metrics.opened();
        Some(Connection { id, phase, displaced, share, _permit: permit })
    }

    fn share(self: &Arc<Self>, peer: IpAddr) -> Option<Share> {
        let connections = Arc::clone(self);
        if self.proxies.trusts(peer.to_canonical()) {
            return Some(Share { connections, client: None });
        }
        let client = Client::of(peer);
        let mut table = self.table.lock();
        let count = table.clients.entry(client).or_insert(0);
        if *count < self.per_client {
            *count += 1;
            return Some(Share { connections, client: Some(client) });
        }
        let first = self.starts_episode(&mut table.client_episode);
        drop(table);
        self.metrics.rejected_at_client_limit();
        if first {
            let (client, limit) = (client.0, self.per_client);
            tracing::warn!(%client, limit, "connections rejected: client at its limit");
        }
        None
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return permit;
        }
        if self.starts_episode(&mut self.table.lock().total_episode) {
            tracing::warn!(
                limit = self.limit,
                "connection limit reached: closing idle connections for new ones"
            );
        }
        loop {
            let wait = if self.displace_longest_idle() { DISPLACED_WITHIN } else { RETRY };
            let permit = tokio::time::timeout(wait, Arc::clone(&self.permits).acquire_owned()).await;
            if let Ok(permit) = permit {
                return permit.expect("the semaphore is never closed");
            }
        }
    }

    /// Displaces the connection that has been idle for longest. Returns false if none is idle.
    fn displace_longest_idle(&self) -> bool {
        let mut table = self.table.lock();
        if table.take_longest_idle() || {
            table.find_longest_idle();
            table.take_longest_idle()
        } {
            self.metrics.closed_at_total_limit();
            return true;
        }
        false
    }

    /// Records an event of an episode. Returns whether it is the first.
    fn starts_episode(&self, last: &mut Option<Duration>) -> bool {
        let now = self.clock.monotonic();
        last.replace(now).is_none_or(|last| now.saturating_sub(last) > EPISODE_QUIET)
    }
}

impl ObservedConnections for Connections {
    fn idle_and_active(&self) -> (usize, usize) {
        let table = self.table.lock();
        let idle = table.open.values().filter(|open| open.phase.idle_since().is_some()).count();
        (idle, table.open.len() - idle)
    }
}

impl Table {
    /// Displaces the first candidate that is still idle. Returns false if there is none.
    fn take_longest_idle(&mut self) -> bool {
        while let Some((id, since)) = self.longest_idle.pop_front() {
            if let Some(open) = self.open.get(&id)
                && open.phase.idle_since() == Some(since)
            {
                open.displaced.cancel();
                return true;
            }
        }
        false
    }

    /// Collects the connections that have been idle for longest. The list stays valid: a connection that
    /// becomes idle later has been idle for less time than every candidate that is still idle.
    fn find_longest_idle(&mut self) {
        let idle = self.open.iter().filter(|(_, open)| !open.displaced.is_cancelled());
        let mut idle: Vec<(u64, u64)> =
            idle.filter_map(|(id, open)| Some((open.phase.idle_since()?, *id))).collect();
        if idle.len() > CANDIDATES {
            idle.select_nth_unstable(CANDIDATES);
            idle.truncate(CANDIDATES);
        }
        idle.sort_unstable();
        self.longest_idle = idle.into_iter().map(|(since, id)| (id, since)).collect();
    }
}

impl Connection {
    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Completes when this connection must close in favour of another.
    pub(crate) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let connections = &self.share.connections;
        connections.table.lock().open.remove(&self.id);
        connections.metrics.closed();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut table = self.connections.table.lock();
        if let Some(count) = table.clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                table.clients.remove(&client);
            }
        }
    }
}
