//! A primary, its replica, and a proxy that follows the role: what a name does that leads to whichever is the
//! primary.

use std::time::Duration;

use crate::{FaultProxy, RedisServer, eventually};

/// Guards against hanging; generous for a slow machine.
const WITHIN: Duration = Duration::from_secs(60);
/// So old is the replica at least: older than any pause of a pool, so that it cannot be the primary after a
/// restart.
const REPLICA_UPTIME_SECS: u64 = 6;

/// Two servers of which one replicates the other.
#[derive(Debug)]
pub struct Failover {
    /// Leads new connections to the primary; those that are open stay where they are.
    pub proxy: FaultProxy,
    primary: RedisServer,
    replica: RedisServer,
}

impl Failover {
    /// Makes a replica of `primary`, which has all its data, and a proxy that leads to the primary.
    ///
    /// # Panics
    /// When the replica does not get in sync.
    pub async fn of(primary: RedisServer) -> Self {
        let replica = RedisServer::start().await;
        replica.tell(&format!("REPLICAOF 127.0.0.1 {}", primary.port())).await;
        eventually("the replica is in sync", WITHIN, || replica.says("master_link_status:up")).await;
        eventually("it is up for a while", WITHIN, async || {
            replica.info_number("uptime_in_seconds").await >= REPLICA_UPTIME_SECS
        })
        .await;
        let proxy = FaultProxy::start(primary.addr()).await;
        Self { proxy, primary, replica }
    }

    /// The primary.
    #[must_use]
    pub fn primary(&self) -> &RedisServer {
        &self.primary
    }

    /// Makes the primary a replica of the other server, which is none yet: both refuse writes, and the proxy
    /// still leads to the former.
    ///
    /// # Panics
    /// When a server does not do as it is told, or the replica does not get all that was written.
    pub async fn demote(&self) {
        let written = self.primary.info_number("master_repl_offset").await;
        eventually("the replica has all of it", WITHIN, async || {
            self.replica.info_number("slave_repl_offset").await >= written
        })
        .await;
        self.primary.tell(&format!("REPLICAOF 127.0.0.1 {}", self.replica.port())).await;
    }

    /// Makes the other server the primary, to which the proxy leads from now on; the former one lives on as
    /// its replica.
    ///
    /// # Panics
    /// When the server does not do as it is told.
    pub async fn promote(&mut self) {
        self.replica.tell("REPLICAOF NO ONE").await;
        self.proxy.lead_to(self.replica.addr());
        std::mem::swap(&mut self.primary, &mut self.replica);
    }
}
