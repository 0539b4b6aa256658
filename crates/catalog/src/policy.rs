//! Whether a Redis is configured to keep every acknowledged write: no eviction, and `appendfsync always`.

use std::collections::HashMap;

use redis_pool::{PoolError, RedisPool};

const PAUSES_FSYNC: &str = "no-appendfsync-on-rewrite";

/// The settings that a Redis reports. A setting that it does not report is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoragePolicy {
    /// `maxmemory` in bytes; 0 means no limit.
    pub maxmemory: Option<u64>,
    /// `maxmemory-policy`.
    pub eviction: Option<String>,
    /// Whether the append-only file is on.
    pub append_only: Option<bool>,
    /// `appendfsync`.
    pub fsync: Option<String>,
    /// `no-appendfsync-on-rewrite`: whether Redis does not sync while it rewrites the file or saves a
    /// snapshot.
    pub pauses_fsync: Option<bool>,
}

impl StoragePolicy {
    /// Reads the settings from Redis.
    ///
    /// # Errors
    /// Fails if Redis is unavailable. If Redis forbids `CONFIG`, all settings are `None`.
    pub async fn read(pool: &RedisPool) -> Result<Self, PoolError> {
        let mut policy = Self::default();
        for name in ["maxmemory", "maxmemory-policy", "appendonly", "appendfsync", PAUSES_FSYNC] {
            let mut get = redis::Cmd::new();
            get.arg("CONFIG").arg("GET").arg(name);
            let reply = match pool.command(get).await {
                Err(PoolError::Server { .. }) => continue,
                reply => reply?,
            };
            let Ok(mut settings) = redis::from_redis_value::<HashMap<String, String>>(reply) else {
                continue;
            };
            let Some(value) = settings.remove(name) else { continue };
            match name {
                "maxmemory" => policy.maxmemory = value.parse().ok(),
                "maxmemory-policy" => policy.eviction = Some(value),
                "appendonly" => policy.append_only = Some(value == "yes"),
                PAUSES_FSYNC => policy.pauses_fsync = Some(value == "yes"),
                _ => policy.fsync = Some(value),
            }
        }
        Ok(policy)
    }

    /// Whether Redis may evict keys. True even without a `maxmemory`, because one may be set later.
    #[must_use]
    pub fn may_evict(&self) -> bool {
        self.eviction.as_deref().is_some_and(|policy| policy != "noeviction")
    }

    /// Whether a crash of Redis may lose acknowledged writes.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.append_only == Some(false) || self.syncs_late() || self.pauses_fsync == Some(true)
    }

    fn syncs_late(&self) -> bool {
        self.fsync.as_deref().is_some_and(|fsync| fsync != "always")
    }

    /// Returns what an operator should change, one sentence each; empty if nothing.
    #[must_use]
    pub fn warnings(&self, must_survive_a_crash: bool) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.may_evict() {
            let policy = self.eviction.as_deref().unwrap_or_default();
            warnings.push(format!("maxmemory-policy is {policy}: this Redis may drop keys; set noeviction"));
        }
        if must_survive_a_crash && self.append_only == Some(false) {
            warnings.push(
                "appendonly is no: a crash of Redis loses acknowledged events; set appendonly yes".to_owned(),
            );
        } else if must_survive_a_crash && self.syncs_late() {
            let fsync = self.fsync.as_deref().unwrap_or_default();
            warnings.push(format!(
                "appendfsync is {fsync}: a crash of Redis may lose acknowledged events; set always"
            ));
        } else if must_survive_a_crash && self.is_weak() {
            warnings.push(format!(
                "{PAUSES_FSYNC} is yes: a crash during a rewrite may lose acknowledged events; set no"
            ));
        }
        if self.eviction.is_none() || (must_survive_a_crash && self.fsync.is_none()) {
            let unknown = "this Redis rejects CONFIG GET: its eviction and fsync settings are unknown";
            warnings.push(unknown.to_owned());
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(eviction: &str, append_only: bool, fsync: &str) -> StoragePolicy {
        StoragePolicy {
            maxmemory: Some(0),
            eviction: Some(eviction.to_owned()),
            append_only: Some(append_only),
            fsync: Some(fsync.to_owned()),
            pauses_fsync: Some(false),
        }
    }

    #[test]
    fn a_redis_that_keeps_everything_gives_no_warning() {
        assert!(policy("noeviction", true, "always").warnings(true).is_empty());
    }

    #[test]
    fn a_warning_names_the_weak_setting() {
        assert!(policy("allkeys-lru", true, "always").warnings(false)[0].contains("allkeys-lru"));
        assert!(policy("noeviction", true, "everysec").warnings(true)[0].contains("everysec"));
        assert!(policy("noeviction", false, "always").warnings(true)[0].contains("appendonly"));
        assert!(policy("noeviction", false, "no").warnings(false).is_empty());
        assert_eq!(StoragePolicy::default().warnings(true).len(), 1);
    }
}
