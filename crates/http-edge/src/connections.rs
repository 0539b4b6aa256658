//! Which connections are open, and who may open another: a bound for each client and one for all.
//!
//! At its own bound a client is turned away. At the bound for all, the connection that is idle for longest is closed in
//! favour of the new one, so that connections that do nothing lock nobody out; if none is idle the new one waits. Both
//! are counted, and logged once per episode: not again until a minute has passed without.

use crate::client_ip::TrustedProxies;
use crate::phase::Phase;
use crate::serve::ServeConfig;
use ambient::{Clock, SystemClock};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Longest wait for a connection that was told to close, before another one is.
const DISPLACED_WITHIN: Duration = Duration::from_secs(1);

/// How often it is tried again to find an idle connection, when all are busy.
const RETRY: Duration = Duration::from_millis(50);

/// An episode is over when it has been quiet for so long.
const EPISODE_QUIET: Duration = Duration::from_secs(60);

/// How many connections are kept at hand as those idle for longest, so that not each one costs a look at all.
const AT_HAND: usize = 64;

const BY_CLIENT: &str = "client";
const BY_TOTAL: &str = "total";

/// `http_connections`, `http_connections_limit`, `http_connections_shed_total{limit}`. The default is registered nowhere.
#[derive(Debug, Clone, Default)]
pub struct ConnectionMetrics {
    open: Gauge,
    limit: Gauge,
    shed: Family<LimitLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

impl ConnectionMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("http_connections", "Connections open now", metrics.open.clone());
        registry.register("http_connections_limit", "Most connections at once", metrics.limit.clone());
        registry.register(
            "http_connections_shed",
            "Connections turned away at their client's limit, and idle ones closed at the limit for all",
            metrics.shed.clone(),
        );
        for limit in [BY_CLIENT, BY_TOTAL] {
            drop(metrics.shed.get_or_create(&LimitLabel { limit }));
        }
        metrics
    }

    fn shed(&self, limit: &'static str) {
        self.shed.get_or_create(&LimitLabel { limit }).inc();
    }
}

/// Whom a connection counts for: an IPv4 address, or the first address of an IPv6 /64.
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
    slots: Arc<Semaphore>,
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
    /// Some of those idle for longest, the longest first, with since when; each is looked at again before use.
    longest_idle: VecDeque<(u64, u64)>,
    client_episode: Option<Duration>,
    total_episode: Option<Duration>,
}

#[derive(Debug)]
struct Open {
    phase: Phase,
    displaced: CancellationToken,
}

/// A place among a client's connections.
#[derive(Debug)]
struct Share {
    connections: Arc<Connections>,
    /// `None` for a proxy, which has no bound.
    client: Option<Client>,
}

/// A connection's place in the table.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    phase: Phase,
    displaced: CancellationToken,
    share: Share,
    _slot: OwnedSemaphorePermit,
}

impl Connections {
    pub(crate) fn new(config: &ServeConfig) -> Arc<Self> {
        let limit = config.max_connections.get().min(Semaphore::MAX_PERMITS);
        config.metrics.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(limit)),
            limit,
            per_client: config.max_connections_per_client.get().min(limit),
            proxies: config.proxies.clone(),
            metrics: config.metrics.clone(),
            clock: Arc::new(SystemClock::new()),
            table: Mutex::default(),
        })
    }

    /// A place for a connection from `peer`, waited for if need be; `None` if the client has as many as it may have.
    pub(crate) async fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Connection> {
        let share = self.share(peer)?;
        let slot = self.slot().await;
        let (phase, displaced) = (Phase::begun(&self.clock), CancellationToken::new());
        let mut table = self.table.lock();
        let id = table.next;
        table.next += 1;
        table.open.insert(id, Open { phase: phase.clone(), displaced: displaced.clone() });
        drop(table);
        self.metrics.open.inc();
        Some(Connection { id, phase, displaced, share, _slot: slot })
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
        let begins = self.begins(&mut table.client_episode);
        drop(table);
        self.metrics.shed(BY_CLIENT);
        if begins {
            let (client, limit) = (client.0, self.per_client);
            tracing::warn!(%client, limit, "connections are turned away: a client has as many as it may have");
        }
        None
    }

    async fn slot(&self) -> OwnedSemaphorePermit {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return slot;
        }
        if self.begins(&mut self.table.lock().total_episode) {
            tracing::warn!(
                limit = self.limit,
                "all connections are taken: those idle for longest are closed for new ones"
            );
        }
        loop {
            let wait = if self.displace_longest_idle() { DISPLACED_WITHIN } else { RETRY };
            let slot = tokio::time::timeout(wait, Arc::clone(&self.slots).acquire_owned()).await;
            if let Ok(slot) = slot {
                return slot.expect("the semaphore is never closed");
            }
        }
    }

    /// Tells the connection that is idle for longest to close; false if none is idle.
    fn displace_longest_idle(&self) -> bool {
        let mut table = self.table.lock();
        if table.take_longest_idle() || {
            table.find_longest_idle();
            table.take_longest_idle()
        } {
            self.metrics.shed(BY_TOTAL);
            return true;
        }
        false
    }

    /// Notes that an episode goes on now; whether it begins.
    fn begins(&self, last: &mut Option<Duration>) -> bool {
        let now = self.clock.monotonic();
        last.replace(now).is_none_or(|last| now.saturating_sub(last) > EPISODE_QUIET)
    }
}

impl Table {
    /// Tells the first of those at hand that is still idle to close.
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

    /// Looks at all connections. Who gets idle later is never idle for longer than who is at hand and still idle.
    fn find_longest_idle(&mut self) {
        let idle = self.open.iter().filter(|(_, open)| !open.displaced.is_cancelled());
        let mut idle: Vec<(u64, u64)> =
            idle.filter_map(|(id, open)| Some((open.phase.idle_since()?, *id))).collect();
        if idle.len() > AT_HAND {
            idle.select_nth_unstable(AT_HAND);
            idle.truncate(AT_HAND);
        }
        idle.sort_unstable();
        self.longest_idle = idle.into_iter().map(|(since, id)| (id, since)).collect();
    }
}

impl Connection {
    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Done once this connection is to close in favour of another.
    pub(crate) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let connections = &self.share.connections;
        connections.table.lock().open.remove(&self.id);
        connections.metrics.open.dec();
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
