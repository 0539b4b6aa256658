//! Which server answers. A name may lead to another one after a failover, and a breaker belongs to one
//! server: what the former one failed at says nothing about its successor.

use std::sync::Arc;
use std::time::Duration;

use ambient::Clock;
use circuit_breaker::Breaker;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;

use crate::writes::Writes;

/// What a server says of itself when a connection is made (`INFO`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerInfo {
    /// Drawn at random whenever a server process starts.
    pub(crate) run_id: Arc<str>,
    pub(crate) is_replica: bool,
    pub(crate) uptime: Duration,
}

impl ServerInfo {
    /// Asks the server; none where it does not tell, as it may be forbidden to.
    pub(crate) async fn ask(connection: &mut MultiplexedConnection) -> Option<Self> {
        let mut info = redis::pipe();
        info.cmd("INFO").arg("server").cmd("INFO").arg("replication");
        let (server, replication): (String, String) = info.query_async(connection).await.ok()?;
        Self::parse(&server, &replication)
    }

    fn parse(server: &str, replication: &str) -> Option<Self> {
        let field = |text: &str, name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(|value| value.trim().to_owned())
        };
        Some(Self {
            run_id: field(server, "run_id")?.into(),
            is_replica: field(replication, "role").as_deref() == Some("slave"),
            uptime: Duration::from_secs(field(server, "uptime_in_seconds")?.parse().ok()?),
        })
    }
}

/// The server that a pool works with.
pub(crate) struct CurrentServer {
    pool: &'static str,
    clock: Arc<dyn Clock>,
    breaker: Arc<Breaker>,
    writes: Arc<Writes>,
    seen: Mutex<Seen>,
}

struct Seen {
    /// Of the server that a connection was made to last, if it told.
    run_id: Option<Arc<str>>,
    /// When that server last answered, as far as it was noted.
    answered_at: Duration,
}

impl CurrentServer {
    pub(crate) fn new(
        pool: &'static str,
        clock: Arc<dyn Clock>,
        breaker: Arc<Breaker>,
        writes: Arc<Writes>,
    ) -> Self {
        let seen = Mutex::new(Seen { run_id: None, answered_at: clock.monotonic() });
        Self { pool, clock, breaker, writes, seen }
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Whether a connection to the server `run_id` leads to one that was replaced. `false` where nothing is
    /// known.
    pub(crate) fn is_former(&self, run_id: Option<&Arc<str>>) -> bool {
        run_id.is_some_and(|run_id| self.seen.lock().run_id.as_ref().is_some_and(|current| current != run_id))
    }

    /// Notes that it answered, even with an error.
    pub(crate) fn answered(&self, now: Duration) {
        self.seen.lock().answered_at = now;
    }

    /// A connection was made to `server`, a replica: perhaps the current server after its demotion, which is
    /// alive then.
    pub(crate) fn met_replica(&self, server: &ServerInfo) {
        let mut seen = self.seen.lock();
        if seen.run_id.as_ref() == Some(&server.run_id) {
            seen.answered_at = self.clock.monotonic();
        }
    }

    /// A connection was made to `server`, a primary. One that ran already while the former one still answered
    /// is another server, and starts with a closed breaker. One that started later may be the former one
    /// after a restart: the breaker goes on protecting it.
    pub(crate) async fn met(&self, server: &ServerInfo) {
        if self.takes_over(server) {
            let code = self.writes.forget();
            tracing::warn!(
                pool = self.pool,
                refused_writes_before = code,
                "another redis server has taken over: its circuit breaker is closed"
            );
            while !self.breaker.try_reset() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Notes that `server` is the current one from now on, and says whether it has replaced another.
    fn takes_over(&self, server: &ServerInfo) -> bool {
        let mut seen = self.seen.lock();
        let now = self.clock.monotonic();
        let silent_for = now.saturating_sub(std::mem::replace(&mut seen.answered_at, now));
        let former = seen.run_id.replace(Arc::clone(&server.run_id));
        // Uptimes are cut to whole seconds, so this errs towards a restart.
        former.is_some_and(|former| former != server.run_id) && server.uptime > silent_for
    }
}

#[cfg(test)]
mod tests {
    use ambient::ManualClock;

    use super::*;

    fn server(run_id: &str, uptime: u64) -> ServerInfo {
        ServerInfo { run_id: run_id.into(), is_replica: false, uptime: Duration::from_secs(uptime) }
    }

    #[test]
    fn a_server_is_read_from_what_it_says() {
        let text = "# Server\r\nredis_version:7.0.15\r\nrun_id:ab12\r\nuptime_in_seconds:17\r\n";
        let read = ServerInfo::parse(text, "# Replication\r\nrole:slave\r\n").unwrap();
        assert_eq!(read, ServerInfo { is_replica: true, ..server("ab12", 17) });
        assert!(!ServerInfo::parse(text, "role:master\r\n").unwrap().is_replica);
        assert_eq!(ServerInfo::parse("redis_version:7\r\n", "role:master"), None);
    }

    #[tokio::test]
    async fn another_server_starts_with_a_closed_breaker_and_a_restarted_one_does_not() {
        for (uptime, state) in
            [(60, circuit_breaker::BreakerState::Closed), (4, circuit_breaker::BreakerState::Open)]
        {
            let clock = Arc::new(ManualClock::new());
            let config = circuit_breaker::BreakerConfig::new(Duration::from_secs(1));
            let breaker = Arc::new(Breaker::new(config, 7));
            let dynamic = Arc::clone(&clock) as Arc<dyn Clock>;
            let current =
                CurrentServer::new("test", dynamic, Arc::clone(&breaker), Arc::new(Writes::new("test")));
            current.met(&server("first", 100)).await;
            breaker.trip(clock.monotonic());
            clock.advance(Duration::from_secs(5));
            current.met(&server("first", 105)).await;
            assert_eq!(breaker.state(), circuit_breaker::BreakerState::Open, "it is the same server");
            clock.advance(Duration::from_secs(5));
            current.met(&server("second", uptime)).await;
            assert_eq!(breaker.state(), state, "{uptime}");
            assert!(current.is_former(Some(&"first".into())) && !current.is_former(Some(&"second".into())));
            assert!(!current.is_former(None));
        }
    }
}
