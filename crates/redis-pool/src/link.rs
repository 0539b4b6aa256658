//! One shared connection and the task that keeps it: connect, carry bytes, and when it breaks, connect again after a
//! jittered, growing pause. It never gives up, so a Redis that was not there at the start is found when it comes.

use std::sync::Arc;
use std::time::Duration;

use ambient::entropy;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::connect;
use crate::url::RedisUrl;

/// First and longest pause between two attempts to connect, before jitter.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Spread of each pause, in thousandths.
const BACKOFF_JITTER: u16 = 300;

/// A connection that is up.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) connection: MultiplexedConnection,
    kill: Arc<Notify>,
    closed: CancellationToken,
}

impl Live {
    /// Closes the socket and waits until it is closed; whatever was owed on it fails.
    pub(crate) async fn close(&self) {
        self.kill.notify_one();
        self.closed.cancelled().await;
    }
}

/// What a link is at now.
#[derive(Clone)]
pub(crate) enum LinkState {
    Up(Live),
    /// With what the last attempt to connect failed, or that none has ended yet.
    Down(Arc<str>),
}

/// A handle to the state of one link.
pub(crate) struct Link {
    state: watch::Receiver<LinkState>,
    task: tokio::task::JoinHandle<()>,
}

impl Link {
    /// Starts to connect. Must be called inside a tokio runtime.
    pub(crate) fn start(
        name: &'static str,
        url: RedisUrl,
        connect_timeout: Duration,
        pipeline_buffer: usize,
        came_up: Arc<Notify>,
    ) -> Self {
        let (state_of, state) = watch::channel(LinkState::Down("not connected yet".into()));
        let shown = Shown { state: state_of, came_up };
        let task = tokio::spawn(keep(name, url, connect_timeout, pipeline_buffer, shown));
        Self { state, task }
    }

    pub(crate) fn live(&self) -> Option<Live> {
        match &*self.state.borrow() {
            LinkState::Up(live) => Some(live.clone()),
            LinkState::Down(_) => None,
        }
    }

    /// Why the link is down, if it is.
    pub(crate) fn trouble(&self) -> Option<Arc<str>> {
        match &*self.state.borrow() {
            LinkState::Up(_) => None,
            LinkState::Down(why) => Some(Arc::clone(why)),
        }
    }
}

/// Where a link's task shows how it stands.
struct Shown {
    state: watch::Sender<LinkState>,
    came_up: Arc<Notify>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(
    name: &'static str,
    url: RedisUrl,
    connect_timeout: Duration,
    pipeline_buffer: usize,
    shown: Shown,
) {
    let mut pause = BACKOFF.0;
    let mut was_up = true;
    loop {
        let attempt = tokio::time::timeout(connect_timeout, connect::connect(&url, pipeline_buffer)).await;
        let why: Arc<str> = match attempt {
            Ok(Ok((connection, driver))) => {
                tracing::info!(pool = name, redis = %url, "connected to redis");
                pause = BACKOFF.0;
                was_up = true;
                carry(connection, driver, &shown).await;
                "the connection broke".into()
            }
            Ok(Err(why)) => why.into(),
            Err(_) => format!("no connection within {} ms", connect_timeout.as_millis()).into(),
        };
        if std::mem::replace(&mut was_up, false) {
            tracing::warn!(pool = name, redis = %url, why = %why, "not connected to redis, trying until it is there");
        }
        shown.state.send_replace(LinkState::Down(why));
        tokio::time::sleep(entropy::jittered(pause, BACKOFF_JITTER)).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// Publishes the connection and moves its bytes until it breaks or is killed; the socket is closed on return.
async fn carry(connection: MultiplexedConnection, driver: connect::Driver, shown: &Shown) {
    let (kill, closed) = (Arc::new(Notify::new()), CancellationToken::new());
    let _closed_on_every_path = closed.clone().drop_guard();
    shown.state.send_replace(LinkState::Up(Live { connection, kill: Arc::clone(&kill), closed }));
    shown.came_up.notify_waiters();
    tokio::select! {
        () = driver => {}
        () = kill.notified() => {}
    }
    shown.state.send_replace(LinkState::Down("the connection broke".into()));
}
