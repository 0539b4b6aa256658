//! The states in which a Redis refuses writes and goes on reading, each brought about and mended on a real
//! server.

use std::time::Duration;

use crate::{RedisServer, eventually};

/// Longest time for a server to notice the state of its disk.
const NOTICED_WITHIN: Duration = Duration::from_secs(20);

/// Why writes are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteRefusal {
    /// Memory is used up.
    Memory,
    /// It was made a replica (of a server that is not there).
    Replica,
    /// Too few replicas are connected.
    NoReplicas,
    /// A snapshot failed.
    Snapshot,
    /// The user of [`RedisServer::with_documented_rights`] may read only.
    Rights,
}

impl WriteRefusal {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Memory, Self::Replica, Self::NoReplicas, Self::Snapshot, Self::Rights];

    /// What Redis answers.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Memory => "OOM",
            Self::Replica => "READONLY",
            Self::NoReplicas => "NOREPLICAS",
            Self::Snapshot => "MISCONF",
            Self::Rights => "NOPERM",
        }
    }

    /// Makes `redis` refuse writes.
    ///
    /// # Panics
    /// When the server does not do as it is told.
    pub async fn begin(self, redis: &RedisServer) {
        match self {
            Self::Memory => redis.tell("CONFIG SET maxmemory 1").await,
            Self::Replica => redis.tell("REPLICAOF 127.0.0.1 1").await,
            Self::NoReplicas => redis.tell("CONFIG SET min-replicas-to-write 1").await,
            Self::Snapshot => {
                // A directory where the file should go.
                std::fs::create_dir(redis.dir().join("dump.rdb")).expect("a directory can be made");
                redis.tell("CONFIG SET save 3600\u{a0}1").await;
                redis.tell("BGSAVE").await;
                eventually("the snapshot has failed", NOTICED_WITHIN, || {
                    redis.says("rdb_last_bgsave_status:err")
                })
                .await;
            }
            Self::Rights => redis.tell("ACL SETUSER voketag -@write").await,
        }
    }

    /// Undoes it.
    ///
    /// # Panics
    /// When the server does not do as it is told.
    pub async fn end(self, redis: &RedisServer) {
        match self {
            Self::Memory => redis.tell("CONFIG SET maxmemory 0").await,
            Self::Replica => redis.tell("REPLICAOF NO ONE").await,
            Self::NoReplicas => redis.tell("CONFIG SET min-replicas-to-write 0").await,
            Self::Snapshot => {
                std::fs::remove_dir(redis.dir().join("dump.rdb")).expect("the directory is empty");
                redis.tell("BGSAVE").await;
                eventually("a snapshot succeeds", NOTICED_WITHIN, || redis.says("rdb_last_bgsave_status:ok"))
                    .await;
            }
            Self::Rights => redis.tell("ACL SETUSER voketag +@write").await,
        }
    }
}

impl RedisServer {
    /// Carries a command out whose words are parted by blanks; a no-break space stands for a blank inside a
    /// word.
    ///
    /// # Panics
    /// When Redis refuses it.
    pub async fn tell(&self, command: &str) {
        let mut words = command.split(' ').map(|word| word.replace('\u{a0}', " "));
        let mut cmd = redis::cmd(&words.next().expect("a command has a name"));
        cmd.arg(words.collect::<Vec<_>>());
        let told = cmd.query_async::<redis::Value>(&mut self.connection().await).await;
        told.unwrap_or_else(|error| panic!("{command}: {error}"));
    }

    /// Whether `INFO` holds that text.
    ///
    /// # Panics
    /// When Redis does not answer.
    pub async fn says(&self, text: &str) -> bool {
        self.info().await.contains(text)
    }

    /// What `INFO` says under that name, as a number.
    ///
    /// # Panics
    /// When it says nothing of the kind.
    pub async fn info_number(&self, name: &str) -> u64 {
        let info = self.info().await;
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{info}"))
    }

    async fn info(&self) -> String {
        redis::cmd("INFO").query_async(&mut self.connection().await).await.expect("redis answers INFO")
    }
}
