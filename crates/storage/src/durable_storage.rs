//! The parts of durable storage, assembled for one process.

use std::sync::Arc;

use access::LastUse;
use ambient::Clock;
use audit_chain::AuditMetrics;
use catalog::{Catalog, DeploymentGate, Expectation, Init};
use keyring::{KeyringWatch, Role, Secrets, SigningKeys};
use redis_pool::RedisPool;
use tag_id::Epoch;

use crate::audit_writer::AuditWriter;
use crate::deployment_state::DeploymentState;
use crate::key_leak_alarm::KeyLeakAlarm;
use crate::live_keyring::LiveKeyring;
use crate::metrics::DurableMetrics;
use crate::readiness::StorageReadiness;
use crate::redis_settings::RedisSettingsWatch;
use crate::refresher::StorageRefresher;
use crate::signing_watch::SigningWatch;
use crate::state_dir::StateDir;
use crate::state_memory::StateMemory;

/// Keys that the write probe writes and deletes to find out whether the durable Redis accepts writes: one of
/// each type that is stored there.
const WRITE_PROBE: &[&str] =
    &["vt1:write-probe", "vt1:write-probe:list", "vt1:write-probe:hash", "vt1:write-probe:zset"];

/// The connections of one process to the durable Redis.
#[derive(Debug)]
pub struct DurablePools {
    /// For requests.
    pub requests: RedisPool,
    /// For the keyring: a process must learn of a revoked key even while requests hold all permits.
    pub heartbeats: RedisPool,
}

/// The role of a process in the keyring.
#[derive(Debug, Clone)]
pub struct KeyringSetup {
    /// The service as whose live instance the process registers. `None`: it only polls, as an operator's
    /// command does.
    pub announce: Option<&'static str>,
    /// The active epoch of the keyring that this process creates if there never was one. `None`: it creates
    /// none.
    pub seeds: Option<Epoch>,
    /// The audit signing keys that the process holds.
    pub signing: Arc<SigningKeys>,
}

/// What a process expects of its deployment, and what it may do with it.
#[derive(Debug)]
pub struct DurableSetup {
    /// The secrets and names that the deployment record must match.
    pub expectation: Expectation,
    /// Whether the process may create the deployment.
    pub init: Init,
    /// The role of the process in the keyring.
    pub keyring: KeyringSetup,
    /// The directory in which the process stores the highest audit head that it has seen.
    pub state_dir: Option<StateDir>,
}

/// Durable storage. Each part is handed to the code that needs it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DurableStorage {
    /// Connections for requests.
    pub pool: RedisPool,
    /// Reads products, batches and tags.
    pub catalog: Catalog,
    /// The deployment, and whether its state is lost.
    pub deployment: Arc<DeploymentState>,
    /// The keyring.
    pub keyring: Arc<LiveKeyring>,
    /// Appends audit events.
    pub audit: Arc<AuditWriter>,
    /// Refreshes the deployment, the keyring and the audit writer.
    pub refresher: Arc<StorageRefresher>,
    /// Checks for the readiness probe.
    pub readiness: Arc<StorageReadiness>,
    /// The alarm for authentic tag ids that were never minted.
    pub key_leak_alarm: KeyLeakAlarm,
}

impl DurableStorage {
    /// Assembles the parts. No command is sent before [`StorageRefresher::keep_refreshing`].
    #[must_use]
    pub fn new(
        pools: DurablePools,
        setup: DurableSetup,
        clock: &Arc<dyn Clock>,
        audit_metrics: AuditMetrics,
        metrics: &DurableMetrics,
    ) -> Self {
        let DurablePools { requests: pool, heartbeats } = pools;
        let DurableSetup { expectation, init, keyring, state_dir } = setup;
        pool.watch_writes(WRITE_PROBE);
        heartbeats.watch_writes(WRITE_PROBE);
        let clock = || Arc::clone(clock);
        let secrets = Secrets { tags: Arc::clone(&expectation.tag_keys), signing: keyring.signing };
        let role = Role { announces: keyring.announce, seeds: keyring.seeds };
        let watch = KeyringWatch::new(heartbeats, clock(), secrets, role, metrics.keyring.clone());
        let watch = Arc::new(watch);
        let origin = expectation.audit_origin.clone();
        let gate = DeploymentGate::new(pool.clone(), expectation, init);
        let deployment =
            DeploymentState::new(pool.clone(), gate, Arc::clone(&watch), metrics.state_lost.clone());
        let deployment = Arc::new(deployment);
        let keyring = Arc::new(LiveKeyring::new(Arc::clone(&deployment), watch));
        let audit = Arc::new(AuditWriter::new(
            Arc::clone(&deployment),
            pool.clone(),
            origin.clone(),
            clock(),
            audit_metrics,
            metrics.chain_damaged.clone(),
        ));
        let signing = SigningWatch::new(
            Arc::clone(&audit),
            Arc::clone(&keyring),
            origin,
            clock(),
            metrics.signing.clone(),
        );
        let settings = metrics.redis_settings.clone();
        let settings = RedisSettingsWatch::new(pool.clone(), "durable", true, clock(), settings);
        let refresher = Arc::new(StorageRefresher::new(
            Arc::clone(&deployment),
            Arc::clone(&keyring),
            Arc::clone(&audit),
            StateMemory::of(state_dir),
            settings,
            signing,
            clock(),
        ));
        let readiness = Arc::new(StorageReadiness::new(Arc::clone(&refresher), pool.clone(), clock()));
        let key_leak_alarm = KeyLeakAlarm::new(metrics.key_leaks.clone());
        let catalog = Catalog::new(pool.clone());
        Self { pool, catalog, deployment, keyring, audit, refresher, readiness, key_leak_alarm }
    }

    /// The shutdown hook: writes `STATE_DIR`, leaves the keyring's live instances, so that no key waits for
    /// this one, and writes when API keys were last used.
    pub async fn shut_down(self, last_use: LastUse) {
        self.refresher.keep_state().await;
        self.keyring.leave().await;
        let Ok(deployment) = self.deployment.deployment() else { return };
        if let Err(error) = last_use.flush(&self.pool, deployment.prefix()).await {
            tracing::warn!(%error, "last uses of keys not written");
        }
    }
}
