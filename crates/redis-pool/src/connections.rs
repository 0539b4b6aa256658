//! The shared connections of a pool, and the manager whose objects are handles on them.
//!
//! `deadpool` bounds how many handles are out at once; a few connections, opened by `deadpool-redis`, carry
//! the bytes of all handles. [`SharedConnections`] opens a connection when a shared one is gone, with one
//! attempt at a time and a growing, jittered pause between attempts, so that many callers never mean many
//! attempts. The client library reports the end of a connection by its push channel (RESP3), so a lost
//! connection is replaced before anybody asks for it.
//!
//! States of a connection: *live*; *retired*, which owes a reply for too long, or leads to a server that is
//! no primary (any more), gets nothing new and closes with its last handle; *broken*, which the client
//! library has closed. In place of one whose server was no primary the name is resolved again, after a pause
//! that goes on growing as long as that is so.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ambient::entropy;
use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisError};
use tokio::sync::Notify;

use crate::down::Down;
use crate::server::{CurrentServer, ServerInfo};
use crate::url::RedisUrl;

/// First and longest pause between two attempts to connect, before jitter.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Spread of each pause, in thousandths.
const BACKOFF_JITTER: u16 = 300;
/// Spread of the pause after a server turned out to be no primary: all its clients learn that at the same
/// moment.
const FAILOVER_JITTER: u16 = 600;

const LIVE: u8 = 0;
const RETIRED: u8 = 1;
const BROKEN: u8 = 2;

/// A way to send commands over one of the shared connections. A pool hands out as many as it has permits.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) connection: MultiplexedConnection,
    /// The `run_id` of the server, if it told.
    pub(crate) server: Option<Arc<str>>,
    index: usize,
    state: Arc<AtomicU8>,
}

impl Handle {
    /// Whether the connection takes new commands.
    pub(crate) fn is_live(&self) -> bool {
        self.state.load(Ordering::Acquire) == LIVE
    }
}

/// Why no connection is there.
#[derive(Debug, Clone)]
pub(crate) struct NotConnected;

/// One of the shared connections.
struct Place {
    state: Shared,
    /// When it last came up.
    up_since: Duration,
    /// The pause before the next attempt after a failover.
    failover_pause: Duration,
}

impl Place {
    /// The pause before the next connection in place of one that is lost at `now` by a failover. It grows,
    /// since the next server that is found may be no primary either and not tell so when it is connected to,
    /// and begins again after a connection that lasted.
    fn pause_after_failover(&mut self, now: Duration) -> Duration {
        if now.saturating_sub(self.up_since) > BACKOFF.1 {
            self.failover_pause = BACKOFF.0;
        }
        let longer = (self.failover_pause * 2).min(BACKOFF.1);
        std::mem::replace(&mut self.failover_pause, longer)
    }
}

/// What one of the shared connections is at now.
enum Shared {
    Up(Handle),
    /// Whether a task is connecting.
    Down {
        down: Down,
        connecting: bool,
    },
}

/// Opens and keeps the shared connections.
pub(crate) struct SharedConnections {
    name: &'static str,
    url: RedisUrl,
    connect_timeout: Duration,
    pipeline_buffer: usize,
    shared: Vec<Mutex<Place>>,
    current: Arc<CurrentServer>,
    next: AtomicUsize,
    /// The states of retired connections that may still be open.
    draining: Mutex<Vec<Weak<AtomicU8>>>,
    /// Notified whenever a connection comes up.
    came_up: Notify,
}

impl SharedConnections {
    /// Starts to connect all of them. Must be called inside a tokio runtime.
    pub(crate) fn start(
        name: &'static str,
        url: RedisUrl,
        connect_timeout: Duration,
        pipeline_buffer: usize,
        count: usize,
        current: Arc<CurrentServer>,
    ) -> Arc<Self> {
        let down = || {
            let state = Shared::Down { down: Down::broken("not connected yet"), connecting: false };
            Mutex::new(Place { state, up_since: Duration::ZERO, failover_pause: BACKOFF.0 })
        };
        let connections = Arc::new(Self {
            name,
            url,
            connect_timeout,
            pipeline_buffer,
            shared: (0..count).map(|_| down()).collect(),
            current,
            next: AtomicUsize::new(0),
            draining: Mutex::default(),
            came_up: Notify::new(),
        });
        for index in 0..count {
            connections.connect(index, None);
        }
        connections
    }

    /// How many are up.
    pub(crate) fn connected(&self) -> usize {
        self.shared.iter().filter(|shared| matches!(shared.lock().state, Shared::Up(_))).count()
    }

    /// Returns the number of retired connections that are still open.
    pub(crate) fn draining(&self) -> usize {
        self.draining.lock().iter().filter(|state| is_draining(state)).count()
    }

    /// Why a connection is down, if one is; rather one whose server is no primary.
    pub(crate) fn down(&self) -> Option<Down> {
        let downs = self.shared.iter().filter_map(|place| match &place.lock().state {
            Shared::Down { down, .. } => Some(down.clone()),
            Shared::Up(_) => None,
        });
        downs.max_by_key(|down| down.code().is_some())
    }

    /// The preferred connection, or else the next that is up.
    pub(crate) fn live(&self, preferred: usize) -> Option<Handle> {
        let count = self.shared.len();
        (0..count).find_map(|offset| {
            match &self.shared[preferred.wrapping_add(offset) % count].lock().state {
                Shared::Up(handle) => Some(handle.clone()),
                Shared::Down { .. } => None,
            }
        })
    }

    /// As [`Self::live`], or the first connection to come up. Waits without a bound: the caller sets the
    /// deadline.
    pub(crate) async fn wait_for_live(&self, preferred: usize) -> Handle {
        loop {
            // Listening begins before the look, so that no connection is missed that comes up in between.
            let came_up = self.came_up.notified();
            if let Some(handle) = self.live(preferred) {
                return handle;
            }
            came_up.await;
        }
    }

    /// Gives a connection nothing new: it owes a reply for too long, or its server is no primary. It closes
    /// with its last handle, and a new one is opened.
    fn retire(self: &Arc<Self>, handle: &Handle, down: Down) {
        if handle.state.compare_exchange(LIVE, RETIRED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            let mut draining = self.draining.lock();
            draining.retain(is_draining);
            draining.push(Arc::downgrade(&handle.state));
            drop(draining);
            self.lost(handle.index, &handle.state, down);
        }
    }

    /// Takes a connection out of its place, unless another one is there by now, and opens a new one.
    fn lost(self: &Arc<Self>, index: usize, state: &Arc<AtomicU8>, down: Down) {
        let pause = {
            let mut place = self.shared[index].lock();
            match &place.state {
                Shared::Up(current) if Arc::ptr_eq(&current.state, state) => {}
                Shared::Up(_) | Shared::Down { .. } => return,
            }
            place.state = Shared::Down { down: down.clone(), connecting: false };
            down.is_failover().then(|| place.pause_after_failover(self.current.now()))
        };
        if down.is_logged() {
            let (pool, redis) = (self.name, &self.url);
            tracing::info!(pool, %redis, reason = %down.why, "redis connection closed");
        } else {
            tracing::warn!(pool = self.name, redis = %self.url, reason = %down.why, "redis connection lost");
        }
        self.connect(index, pause);
    }

    /// Starts the task that connects one of them, unless it runs already; the first attempt is made after
    /// `pause`.
    fn connect(self: &Arc<Self>, index: usize, pause: Option<Duration>) {
        if let Shared::Down { connecting, .. } = &mut self.shared[index].lock().state {
            if std::mem::replace(connecting, true) {
                return;
            }
        } else {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(keep_connecting(Arc::downgrade(self), index, pause));
    }

    /// Gives connections to a server that another has replaced nothing new.
    fn leave_former_server(self: &Arc<Self>) {
        let handles = self.shared.iter().filter_map(|place| match &place.lock().state {
            Shared::Up(handle) => Some(handle.clone()),
            Shared::Down { .. } => None,
        });
        let handles: Vec<Handle> = handles.collect();
        for handle in handles.iter().filter(|handle| self.current.is_former(handle.server.as_ref())) {
            self.retire(handle, Down::replaced());
        }
    }

    /// One attempt: a connection to a server that is no replica.
    async fn attempt(self: &Arc<Self>, index: usize) -> Result<Handle, Down> {
        let failed = |error: RedisError| Down::broken(error.to_string());
        let mut handle = self.open(index).await.map_err(failed)?;
        let asking = ServerInfo::ask(&mut handle.connection);
        let server = tokio::time::timeout(self.connect_timeout, asking).await;
        let Some(server) = server.map_err(|_| Down::broken("no answer during the login"))? else {
            return Ok(handle);
        };
        if server.is_replica {
            self.current.met_replica(&server);
            return Err(Down::replica());
        }
        self.current.met(&server).await;
        self.leave_former_server();
        handle.server = Some(server.run_id);
        Ok(handle)
    }

    /// `deadpool-redis` tries all addresses of the name, speaks TLS, and logs in.
    async fn open(self: &Arc<Self>, index: usize) -> Result<Handle, RedisError> {
        let state = Arc::new(AtomicU8::new(LIVE));
        let (connections, pushed_state) = (Arc::downgrade(self), Arc::clone(&state));
        let on_push = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            if push.kind == PushKind::Disconnection {
                pushed_state.store(BROKEN, Ordering::Release);
                if let Some(connections) = Weak::upgrade(&connections) {
                    connections.lost(index, &pushed_state, Down::broken("the connection broke"));
                }
            }
            Ok(())
        };
        // The pool sets the deadlines of commands: a response timeout of the client's would drop a reply that
        // is still owed.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(self.pipeline_buffer)
            .set_push_sender(on_push);
        let manager = deadpool_redis::Manager::new_with_config(self.url.info().clone(), config)?;
        let connection = managed::Manager::create(&manager).await?;
        Ok(Handle { connection, server: None, index, state })
    }

    /// Whether the new connection could be put in its place: it may have broken, or another server taken
    /// over, by now.
    fn publish(&self, index: usize, handle: Handle) -> bool {
        let mut place = self.shared[index].lock();
        // Checked under the lock: whoever leaves a former server afterwards finds this connection in its
        // place.
        if !handle.is_live() || self.current.is_former(handle.server.as_ref()) {
            return false;
        }
        place.state = Shared::Up(handle);
        place.up_since = self.current.now();
        drop(place);
        self.came_up.notify_waiters();
        true
    }

    fn failed(&self, index: usize, down: Down) {
        self.shared[index].lock().state = Shared::Down { down, connecting: true };
    }
}

/// Returns whether a retired connection is still open: its state lives as long as the connection.
fn is_draining(state: &Weak<AtomicU8>) -> bool {
    state.upgrade().is_some_and(|state| state.load(Ordering::Acquire) == RETIRED)
}

/// Connects until a connection is up or the pool is gone; the first time after `first_pause`.
async fn keep_connecting(connections: Weak<SharedConnections>, index: usize, first_pause: Option<Duration>) {
    if let Some(pause) = first_pause {
        tokio::time::sleep(entropy::jittered(pause, FAILOVER_JITTER)).await;
    }
    let mut pause = BACKOFF.0;
    loop {
        let Some(strong) = connections.upgrade() else { return };
        let down = match strong.attempt(index).await {
            Ok(handle) => {
                if strong.publish(index, handle) {
                    tracing::info!(pool = strong.name, redis = %strong.url, "connected to redis");
                    return;
                }
                Down::broken("the connection broke, or another server took over, during the login")
            }
            Err(down) => down,
        };
        if pause == BACKOFF.0 && !down.is_logged() {
            let (pool, redis) = (strong.name, &strong.url);
            tracing::warn!(pool, %redis, reason = %down.why, "cannot connect to redis, retrying");
        }
        let jitter = if down.is_failover() { FAILOVER_JITTER } else { BACKOFF_JITTER };
        strong.failed(index, down);
        drop(strong);
        tokio::time::sleep(entropy::jittered(pause, jitter)).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// The pool's objects: as many handles as it has permits.
pub(crate) type Objects = managed::Pool<HandleManager>;

/// Gives a connection nothing new, and drops the idle handles on it: it closes once the commands in flight on
/// it have ended.
pub(crate) fn retire(objects: &Objects, handle: &Handle, down: Down) {
    objects.manager().0.retire(handle, down);
    objects.retain(|idle, _| idle.is_live());
}

/// The manager of the pool's objects.
pub(crate) struct HandleManager(pub(crate) Arc<SharedConnections>);

impl managed::Manager for HandleManager {
    type Type = Handle;
    type Error = NotConnected;

    /// A handle on a connection that is live, or on the first to come up before the pool's deadline for
    /// creating.
    async fn create(&self) -> Result<Handle, NotConnected> {
        let preferred = self.0.next.fetch_add(1, Ordering::Relaxed);
        Ok(self.0.wait_for_live(preferred).await)
    }

    /// Looks at the state of the connection and sends nothing.
    async fn recycle(&self, handle: &mut Handle, _: &Metrics) -> RecycleResult<NotConnected> {
        if handle.is_live() { Ok(()) } else { Err(RecycleError::message("its connection is gone")) }
    }
}
