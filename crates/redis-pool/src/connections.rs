//! The shared connections of a pool, and the manager whose objects are handles on them.
//!
//! `deadpool` bounds how many handles are out at once; a few connections, opened by `deadpool-redis`, carry the bytes of all
//! handles. [`Connections`] opens a connection when a shared one is gone, with one attempt at a time and a growing, jittered
//! pause between attempts, so that many callers never mean many attempts. The client library reports the end of a connection
//! by its push channel (RESP3), so a lost connection is replaced before anybody asks for it.
//!
//! States of a connection: *live*; *retired*, which owes a reply for too long, gets nothing new and closes with its last
//! handle; *broken*, which the client library has closed.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ambient::entropy;
use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisError};
use tokio::sync::Notify;

use crate::url::RedisUrl;

/// First and longest pause between two attempts to connect, before jitter.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Spread of each pause, in thousandths.
const BACKOFF_JITTER: u16 = 300;

const LIVE: u8 = 0;
const RETIRED: u8 = 1;
const BROKEN: u8 = 2;

/// A way to send commands over one of the shared connections. A pool hands out as many as it has permits.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) connection: MultiplexedConnection,
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

/// What one of the shared connections is at now.
enum Shared {
    Up(Handle),
    /// With the last error, and whether a task is connecting.
    Down {
        last_error: Arc<str>,
        connecting: bool,
    },
}

/// Opens and keeps the shared connections.
pub(crate) struct Connections {
    name: &'static str,
    url: RedisUrl,
    connect_timeout: Duration,
    pipeline_buffer: usize,
    shared: Vec<Mutex<Shared>>,
    next: AtomicUsize,
    /// Notified whenever a connection comes up.
    came_up: Notify,
}

impl Connections {
    /// Starts to connect all of them. Must be called inside a tokio runtime.
    pub(crate) fn start(
        name: &'static str,
        url: RedisUrl,
        connect_timeout: Duration,
        pipeline_buffer: usize,
        count: usize,
    ) -> Arc<Self> {
        let down = || Mutex::new(Shared::Down { last_error: "not connected yet".into(), connecting: false });
        let connections = Arc::new(Self {
            name,
            url,
            connect_timeout,
            pipeline_buffer,
            shared: (0..count).map(|_| down()).collect(),
            next: AtomicUsize::new(0),
            came_up: Notify::new(),
        });
        for index in 0..count {
            connections.connect(index);
        }
        connections
    }

    /// How many are up.
    pub(crate) fn connected(&self) -> usize {
        self.shared.iter().filter(|shared| matches!(&*shared.lock(), Shared::Up(_))).count()
    }

    /// Why a connection is down, if one is.
    pub(crate) fn last_error(&self) -> Option<Arc<str>> {
        self.shared.iter().find_map(|shared| match &*shared.lock() {
            Shared::Down { last_error, .. } => Some(Arc::clone(last_error)),
            Shared::Up(_) => None,
        })
    }

    /// The preferred connection, or else the next that is up.
    pub(crate) fn live(&self, preferred: usize) -> Option<Handle> {
        let count = self.shared.len();
        (0..count).find_map(|offset| match &*self.shared[preferred.wrapping_add(offset) % count].lock() {
            Shared::Up(handle) => Some(handle.clone()),
            Shared::Down { .. } => None,
        })
    }

    /// As [`Self::live`], or the first connection to come up. Waits without a bound: the caller sets the deadline.
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

    /// Gives a connection nothing new: it owes a reply for too long, or its server serves nobody. It closes with its last
    /// handle, and a new one is opened.
    fn retire(self: &Arc<Self>, handle: &Handle, why: &str) {
        if handle.state.compare_exchange(LIVE, RETIRED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.lost(handle.index, &handle.state, why);
        }
    }

    /// Takes a connection out of its place, unless another one is there by now, and opens a new one.
    fn lost(self: &Arc<Self>, index: usize, state: &Arc<AtomicU8>, why: &str) {
        {
            let mut shared = self.shared[index].lock();
            match &*shared {
                Shared::Up(current) if Arc::ptr_eq(&current.state, state) => {
                    *shared = Shared::Down { last_error: why.into(), connecting: false };
                }
                Shared::Up(_) | Shared::Down { .. } => return,
            }
        }
        tracing::warn!(pool = self.name, redis = %self.url, reason = why, "redis connection lost");
        self.connect(index);
    }

    /// Starts the task that connects one of them, unless it runs already.
    fn connect(self: &Arc<Self>, index: usize) {
        if let Shared::Down { connecting, .. } = &mut *self.shared[index].lock() {
            if std::mem::replace(connecting, true) {
                return;
            }
        } else {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(keep_connecting(Arc::downgrade(self), index));
    }

    /// One attempt. `deadpool-redis` tries all addresses of the name, speaks TLS, and logs in.
    async fn attempt(self: &Arc<Self>, index: usize) -> Result<Handle, RedisError> {
        let state = Arc::new(AtomicU8::new(LIVE));
        let (connections, pushed_state) = (Arc::downgrade(self), Arc::clone(&state));
        let on_push = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            if push.kind == PushKind::Disconnection {
                pushed_state.store(BROKEN, Ordering::Release);
                if let Some(connections) = Weak::upgrade(&connections) {
                    connections.lost(index, &pushed_state, "the connection broke");
                }
            }
            Ok(())
        };
        // The pool sets the deadlines of commands: a response timeout of the client's would drop a reply that is still owed.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(self.pipeline_buffer)
            .set_push_sender(on_push);
        let manager = deadpool_redis::Manager::new_with_config(self.url.info().clone(), config)?;
        let connection = managed::Manager::create(&manager).await?;
        Ok(Handle { connection, index, state })
    }

    /// Whether the new connection could be put in its place: it may have broken again by now.
    fn publish(&self, index: usize, handle: Handle) -> bool {
        let mut shared = self.shared[index].lock();
        if !handle.is_live() {
            return false;
        }
        *shared = Shared::Up(handle);
        drop(shared);
        self.came_up.notify_waiters();
        true
    }

    fn failed(&self, index: usize, why: &str) {
        *self.shared[index].lock() = Shared::Down { last_error: why.into(), connecting: true };
    }
}

/// Connects until a connection is up or the pool is gone.
async fn keep_connecting(connections: Weak<Connections>, index: usize) {
    let mut pause = BACKOFF.0;
    loop {
        let Some(strong) = connections.upgrade() else { return };
        let why = match strong.attempt(index).await {
            Ok(handle) => {
                if strong.publish(index, handle) {
                    tracing::info!(pool = strong.name, redis = %strong.url, "connected to redis");
                    return;
                }
                "the connection broke during the login".to_owned()
            }
            Err(error) => error.to_string(),
        };
        if pause == BACKOFF.0 {
            tracing::warn!(pool = strong.name, redis = %strong.url, reason = why, "cannot connect to redis, retrying");
        }
        strong.failed(index, &why);
        drop(strong);
        tokio::time::sleep(entropy::jittered(pause, BACKOFF_JITTER)).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// The pool's objects: as many handles as it has permits.
pub(crate) type Objects = managed::Pool<HandleManager>;

/// Gives a connection nothing new, and drops the idle handles on it: it closes once the commands in flight on it have ended.
pub(crate) fn retire(objects: &Objects, handle: &Handle, why: &str) {
    objects.manager().0.retire(handle, why);
    objects.retain(|idle, _| idle.is_live());
}

/// The manager of the pool's objects.
pub(crate) struct HandleManager(pub(crate) Arc<Connections>);

impl managed::Manager for HandleManager {
    type Type = Handle;
    type Error = NotConnected;

    /// A handle on a connection that is live, or on the first to come up before the pool's deadline for creating.
    async fn create(&self) -> Result<Handle, NotConnected> {
        let preferred = self.0.next.fetch_add(1, Ordering::Relaxed);
        Ok(self.0.wait_for_live(preferred).await)
    }

    /// Looks at the state of the connection and sends nothing.
    async fn recycle(&self, handle: &mut Handle, _: &Metrics) -> RecycleResult<NotConnected> {
        if handle.is_live() { Ok(()) } else { Err(RecycleError::message("its connection is gone")) }
    }
}
