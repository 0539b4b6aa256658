//! Signs checkpoints of the audit chain: on a schedule, and on request.

use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, entropy};
use keyring::{CheckpointSigner, SignError, SignedCheckpoint, SigningKeys};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use storage::{AuditWriter, DeploymentState, DurableStorage, GateError, LiveKeyring};

use crate::domain::error::FactoryError;

const NO_KEY: &str =
    "no audit signing key is active: set AUDIT_SIGNING_KEY, then keyring add and activate it";
const NOT_HELD: &str =
    "this process has no secret for the active audit signing key: set its AUDIT_SIGNING_KEY_<number>";
const CONTRADICTED: &str = "a signed checkpoint contradicts the chain: the chain was changed, or the \
                            checkpoint is wrong; nothing more is signed until that is settled";
const OVERTAKEN: &str = "the keyring was changed meanwhile; try again";

/// How long a contradiction is reported without checking again. A check may read the whole chain.
const CONTRADICTION_CACHED_FOR: Duration = Duration::from_secs(10);

/// Signs checkpoints in this process, one at a time.
pub(crate) struct Checkpoints {
    deployment: Arc<DeploymentState>,
    keyring: Arc<LiveKeyring>,
    audit: Arc<AuditWriter>,
    clock: Arc<dyn Clock>,
    keys: Arc<SigningKeys>,
    /// The monotonic time until which the chain counts as contradicted. The lock admits one signer at a time.
    contradicted_until: tokio::sync::Mutex<Option<Duration>>,
    revoked_key_usage: Counter,
    contradictions: Counter,
}

impl Checkpoints {
    /// Registers the counters `audit_revoked_key_usage` and `audit_contradictions`.
    pub(crate) fn new(
        storage: &DurableStorage,
        clock: Arc<dyn Clock>,
        keys: Arc<SigningKeys>,
        registry: &mut Registry,
    ) -> Self {
        let revoked_key_usage = Counter::default();
        let help = "Verified checkpoints that a revoked key has signed";
        registry.register("audit_revoked_key_usage", help, revoked_key_usage.clone());
        let contradictions = Counter::default();
        let help = "Signatures that were rejected because a signed checkpoint contradicts the chain";
        registry.register("audit_contradictions", help, contradictions.clone());
        Self {
            deployment: Arc::clone(&storage.deployment),
            keyring: Arc::clone(&storage.keyring),
            audit: Arc::clone(&storage.audit),
            clock,
            keys,
            contradicted_until: tokio::sync::Mutex::default(),
            revoked_key_usage,
            contradictions,
        }
    }

    /// Signs the chain as it is now. Logs an alarm if a signed checkpoint contradicts the chain.
    ///
    /// # Errors
    /// [`FactoryError::Conflict`] if there is no active key that this process holds, or if a checkpoint
    /// contradicts the chain.
    pub(crate) async fn sign(&self) -> Result<SignedCheckpoint, FactoryError> {
        let mut contradicted = self.contradicted_until.lock().await;
        let now = || self.clock.monotonic();
        if contradicted.is_some_and(|until| now() < until) {
            return Err(FactoryError::Conflict(CONTRADICTED));
        }
        let signed = self.sign_with_current_keys().await;
        *contradicted = None;
        if let Err(FactoryError::Conflict(CONTRADICTED)) = signed {
            self.contradictions.inc();
            tracing::error!(alarm = "chain_contradicted", "{CONTRADICTED}");
            *contradicted = Some(now() + CONTRADICTION_CACHED_FOR);
        }
        signed
    }

    async fn sign_with_current_keys(&self) -> Result<SignedCheckpoint, FactoryError> {
        match self.sign_once().await {
            Err(SignFailure::Sign(SignError::Overtaken)) => {
                self.keyring.poll().await?;
                self.sign_once().await.map_err(SignFailure::into_factory_error)
            }
            signed => signed.map_err(SignFailure::into_factory_error),
        }
    }

    async fn sign_once(&self) -> Result<SignedCheckpoint, SignFailure> {
        let signer = self.signer()?;
        let deployment = self.deployment.deployment()?;
        let keys = self.keyring.snapshot()?;
        Ok(signer.sign(deployment, &keys).await?)
    }

    /// Returns the signer, which also reads the stored checkpoints.
    pub(crate) fn signer(&self) -> Result<CheckpointSigner, GateError> {
        Ok(CheckpointSigner::new(self.audit.log()?.clone(), Arc::clone(&self.keys)))
    }

    /// Returns the chain's name in checkpoints.
    pub(crate) fn origin(&self) -> &str {
        self.keys.origin()
    }

    /// Counts verified checkpoints that a revoked key has signed.
    pub(crate) fn count_revoked(&self, found: u64) {
        self.revoked_key_usage.inc_by(found);
    }

    /// Signs about once per `every` if the chain has grown. Never returns.
    pub(crate) async fn keep_signing(&self, every: Duration) {
        let (mut signed_size, mut last_error): (Option<u64>, Option<&str>) = (None, None);
        loop {
            tokio::time::sleep(entropy::jittered(every, 100)).await;
            match spans::in_job("sign checkpoint", self.sign_if_grown(signed_size)).await {
                Ok(size) => (signed_size, last_error) = (size.or(signed_size), None),
                // A deployment need not sign. One that is not ready reports that in its readiness.
                Err(FactoryError::Conflict(NO_KEY) | FactoryError::Store(_)) => {}
                Err(FactoryError::Conflict(why)) if last_error == Some(why) => {}
                Err(FactoryError::Conflict(why)) => {
                    tracing::warn!(why, "this process cannot sign checkpoints of the audit chain");
                    last_error = Some(why);
                }
                Err(error) => {
                    tracing::warn!(?error, "signing a checkpoint of the audit chain failed")
                }
            }
        }
    }

    async fn sign_if_grown(&self, last: Option<u64>) -> Result<Option<u64>, FactoryError> {
        let log = self.audit.log()?;
        let head = log.head().await?;
        if head.size == 0 || last == Some(head.size) {
            return Ok(None);
        }
        Ok(Some(self.sign().await?.checkpoint.size))
    }
}

/// Why nothing was signed.
enum SignFailure {
    Sign(SignError),
    Closed(GateError),
}

impl From<SignError> for SignFailure {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}

impl From<GateError> for SignFailure {
    fn from(error: GateError) -> Self {
        Self::Closed(error)
    }
}

impl SignFailure {
    fn into_factory_error(self) -> FactoryError {
        match self {
            Self::Sign(error) => sign_error(error),
            Self::Closed(error) => error.into(),
        }
    }
}

fn sign_error(error: SignError) -> FactoryError {
    match error {
        SignError::NoActiveKey => FactoryError::Conflict(NO_KEY),
        SignError::NotHeld(_) => FactoryError::Conflict(NOT_HELD),
        SignError::Overtaken => FactoryError::Conflict(OVERTAKEN),
        SignError::Contradicted { .. } => FactoryError::Conflict(CONTRADICTED),
        SignError::Read(error) => error.into(),
        SignError::Redis(error) => error.into(),
    }
}
