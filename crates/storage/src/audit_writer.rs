//! Appending audit events to the chain of the deployment that a process works on.

use std::sync::Arc;

use ambient::{Clock, entropy};
use audit_chain::{
    AppendError, Appended, Appender, AppenderConfig, AuditLog, AuditMetrics, Effect, EndFault, Event, Head,
    NewEvent,
};
use catalog::Deployment;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use redis_pool::RedisPool;
use uuid::Uuid;

use crate::deployment_state::DeploymentState;
use crate::error::{AppendFailure, GateError};

/// Whether Redis permits this process to append.
#[derive(Debug)]
enum Permission {
    NotTried,
    Granted,
    /// Holds the command that Redis rejects.
    Rejected(String),
}

/// The identity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventIdentity {
    /// When the event happens, Unix milliseconds.
    pub unix_millis: u64,
    /// A version 7 UUID.
    pub id: Uuid,
    /// 16 random bytes.
    pub nonce: [u8; 16],
}

/// Appends audit events. There is one appender for each restore generation.
#[derive(Debug)]
pub struct AuditWriter {
    state: Arc<DeploymentState>,
    pool: RedisPool,
    origin: String,
    clock: Arc<dyn Clock>,
    metrics: AuditMetrics,
    damaged: Gauge,
    /// The appenders by restore generation, the latest last. Earlier ones are kept, because callers may hold
    /// references to them; restores are rare.
    appenders: boxcar::Vec<(u64, Appender)>,
    /// Held while an appender is started.
    starting: Mutex<()>,
    permission: Mutex<Permission>,
    /// The fault that the last refresh or append found at the end of the chain. It prevents appends only,
    /// because no state is lost.
    chain_fault: Mutex<Option<EndFault>>,
}

impl AuditWriter {
    pub(crate) fn new(
        state: Arc<DeploymentState>,
        pool: RedisPool,
        origin: String,
        clock: Arc<dyn Clock>,
        metrics: AuditMetrics,
        damaged: Gauge,
    ) -> Self {
        Self {
            state,
            pool,
            origin,
            clock,
            metrics,
            damaged,
            appenders: boxcar::Vec::new(),
            starting: Mutex::default(),
            permission: Mutex::new(Permission::NotTried),
            chain_fault: Mutex::default(),
        }
    }

    /// Appends an event that happens now, with its effect.
    ///
    /// # Errors
    /// See [`AppendFailure`].
    pub async fn append(&self, what: NewEvent, effect: Effect) -> Result<Appended, AppendFailure> {
        let unix_millis = self.clock.unix_millis();
        let id = ambient::uuid_v7(unix_millis);
        self.append_as(EventIdentity { unix_millis, id, nonce: entropy::random_bytes() }, what, effect).await
    }

    /// Appends an event with a given identity, and its effect. A retry with the same identity is the same
    /// event.
    ///
    /// # Errors
    /// See [`AppendFailure`].
    pub async fn append_as(
        &self,
        identity: EventIdentity,
        what: NewEvent,
        effect: Effect,
    ) -> Result<Appended, AppendFailure> {
        let appender = self.appender()?;
        let event = Event::new(identity.unix_millis, identity.id, identity.nonce, what)?;
        let appended = appender.append(&event, effect).await;
        match &appended {
            Err(AppendError::StateLost(why)) => self.state.report_lost(&why.to_string()),
            Err(AppendError::EndFault(fault)) => self.note_chain_fault(Some(*fault)),
            _ => {}
        }
        Ok(appended?)
    }

    /// Returns the log of the chain, for reading.
    ///
    /// # Errors
    /// As [`DeploymentState::deployment`], and [`GateError::AppendNotPermitted`].
    pub fn log(&self) -> Result<&AuditLog, GateError> {
        Ok(self.appender()?.log())
    }

    /// Returns the log of the last seen chain, even while the state is lost. Scripts compare the head with
    /// it.
    #[must_use]
    pub fn seen_log(&self) -> Option<&AuditLog> {
        self.latest().map(|(_, appender)| appender.log())
    }

    fn appender(&self) -> Result<&Appender, GateError> {
        self.state.deployment()?;
        if !matches!(*self.permission.lock(), Permission::Granted) {
            return Err(GateError::AppendNotPermitted);
        }
        self.latest().map(|(_, appender)| appender).ok_or_else(|| self.state.unseen())
    }

    pub(crate) fn latest(&self) -> Option<&(u64, Appender)> {
        self.appenders.iter().last().map(|(_, latest)| latest)
    }

    /// Returns the appender of the deployment's restore generation, and starts it if it does not exist yet.
    /// It reports lost state if the chain does not hold the entry of the head `known`.
    pub(crate) fn appender_of(&self, deployment: &Deployment, known: Option<Head>) -> &Appender {
        let generation = deployment.generation();
        let _starting = self.starting.lock();
        if let Some((_, appender)) = self.latest().filter(|(latest, _)| *latest >= generation) {
            return appender;
        }
        let appender = self.start(deployment);
        if let Some(head) = known {
            appender.log().remember(head);
        }
        let index = self.appenders.push((generation, appender));
        &self.appenders[index].1
    }

    fn start(&self, deployment: &Deployment) -> Appender {
        let config = AppenderConfig::new(self.origin.clone(), vec![deployment.guard()]);
        let appender = Appender::start(self.pool.clone(), config, Arc::clone(&self.clock), &self.metrics);
        if self.state.gate().audit_begun() {
            appender.log().remember_begun();
        }
        appender
    }

    /// Checks whether Redis permits all commands that appending needs, unless an earlier check succeeded.
    pub(crate) async fn request_permission(&self, appender: &Appender) -> Result<(), redis_pool::PoolError> {
        if matches!(*self.permission.lock(), Permission::Granted) {
            return Ok(());
        }
        let rejected = appender.log().probe().await?;
        let mut permission = self.permission.lock();
        if let (Some(why), Permission::NotTried) = (&rejected, &*permission) {
            tracing::error!(%why, "redis rejects a command that appending audit events needs");
        }
        *permission = rejected.map_or(Permission::Granted, Permission::Rejected);
        Ok(())
    }

    /// Returns the command that Redis rejects, if that prevents appends.
    pub(crate) fn rejected_command(&self) -> Option<String> {
        match &*self.permission.lock() {
            Permission::Rejected(why) => Some(why.clone()),
            Permission::NotTried | Permission::Granted => None,
        }
    }

    pub(crate) fn chain_fault(&self) -> Option<EndFault> {
        *self.chain_fault.lock()
    }

    /// Stores the fault at the end of the chain, or that there is none. Logs each change once.
    pub(crate) fn note_chain_fault(&self, fault: Option<EndFault>) {
        let before = std::mem::replace(&mut *self.chain_fault.lock(), fault);
        self.damaged.set(i64::from(fault.is_some()));
        match fault {
            Some(why) if before != Some(why) => {
                tracing::error!(%why, "audit chain damaged; appends fail until an operator repairs it");
            }
            None if before.is_some() => tracing::info!("audit chain intact again; appends succeed"),
            _ => {}
        }
    }
}
