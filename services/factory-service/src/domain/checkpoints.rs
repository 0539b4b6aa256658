//! Signed checkpoints of the audit chain: on a schedule, and when somebody asks.

use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, entropy};
use keyring::{CheckpointSigner, SignError, SignedCheckpoint, SigningKeys};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use storage::{AuditWriter, DeploymentState, DurableStorage, GateError, LiveKeyring};

use crate::domain::refusal::Refusal;

const NO_KEY: &str =
    "no audit signing key is active: set AUDIT_SIGNING_KEY, then keyring add and activate it";
const NOT_HELD: &str =
    "this process has no secret for the active audit signing key: set its AUDIT_SIGNING_KEY_<number>";
const CONTRADICTED: &str = "a signed checkpoint contradicts the chain: it was changed, or the checkpoint is wrong; nothing more is signed until \
                            that is settled";
const OVERTAKEN: &str = "the keyring was changed meanwhile; try again";

/// How long a found contradiction is answered for without a look: a look may read the whole chain.
const CONTRADICTED_STANDS: Duration = Duration::from_secs(10);

/// Signs for this process, one call at a time.
pub(crate) struct Checkpoints {
    deployment: Arc<DeploymentState>,
    keyring: Arc<LiveKeyring>,
    audit: Arc<AuditWriter>,
    clock: Arc<dyn Clock>,
    keys: Arc<SigningKeys>,
    /// Until when, by the monotonic clock, the chain counts as contradicted.
    turn: tokio::sync::Mutex<Option<Duration>>,
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
        let help = "Checkpoints that were verified and found signed by a revoked key";
        registry.register("audit_revoked_key_usage", help, revoked_key_usage.clone());
        let contradictions = Counter::default();
        let help = "Times that nothing was signed because a signed checkpoint contradicts the chain";
        registry.register("audit_contradictions", help, contradictions.clone());
        Self {
            deployment: Arc::clone(&storage.deployment),
            keyring: Arc::clone(&storage.keyring),
            audit: Arc::clone(&storage.audit),
            clock,
            keys,
            turn: tokio::sync::Mutex::default(),
            revoked_key_usage,
            contradictions,
        }
    }

    /// Signs where the chain stands now. A chain that contradicts what was signed is an alarm.
    pub(crate) async fn sign(&self) -> Result<SignedCheckpoint, Refusal> {
        let mut contradicted = self.turn.lock().await;
        let now = || self.clock.monotonic();
        if contradicted.is_some_and(|until| now() < until) {
            return Err(Refusal::Conflict(CONTRADICTED));
        }
        let signed = self.sign_or_look_again().await;
        *contradicted = None;
        if let Err(Refusal::Conflict(CONTRADICTED)) = signed {
            self.contradictions.inc();
            tracing::error!(alarm = "chain_contradicted", "{CONTRADICTED}");
            *contradicted = Some(now() + CONTRADICTED_STANDS);
        }
        signed
    }

    async fn sign_or_look_again(&self) -> Result<SignedCheckpoint, Refusal> {
        match self.sign_once().await {
            Err(SignRefusal::Sign(SignError::Overtaken)) => {
                self.keyring.poll().await?;
                self.sign_once().await.map_err(SignRefusal::into_refusal)
            }
            signed => signed.map_err(SignRefusal::into_refusal),
        }
    }

    async fn sign_once(&self) -> Result<SignedCheckpoint, SignRefusal> {
        let signer = self.signer()?;
        let deployment = self.deployment.deployment()?;
        let keys = self.keyring.snapshot()?;
        Ok(signer.sign(deployment, &keys).await?)
    }

    /// The stored notes can be read by it too.
    pub(crate) fn signer(&self) -> Result<CheckpointSigner, GateError> {
        Ok(CheckpointSigner::new(self.audit.log()?.clone(), Arc::clone(&self.keys)))
    }

    /// The chain's name, as checkpoints bear it.
    pub(crate) fn origin(&self) -> &str {
        self.keys.origin()
    }

    /// Counts checkpoints that were verified and found signed by a revoked key.
    pub(crate) fn count_revoked(&self, found: u64) {
        self.revoked_key_usage.inc_by(found);
    }

    /// Signs again and again where something was appended; ends only with the process.
    pub(crate) async fn keep_signing(&self, every: Duration) {
        let (mut last, mut said): (Option<u64>, Option<&str>) = (None, None);
        loop {
            tokio::time::sleep(entropy::jittered(every, 100)).await;
            match self.sign_if_grown(last).await {
                Ok(size) => (last, said) = (size.or(last), None),
                // A deployment that signs nothing is no fault, and one that is not ready says so elsewhere.
                Err(Refusal::Conflict(NO_KEY) | Refusal::Store(_)) => {}
                Err(Refusal::Conflict(why)) if said == Some(why) => {}
                Err(Refusal::Conflict(why)) => {
                    tracing::warn!(why, "no checkpoint of the audit chain is signed by this process");
                    said = Some(why);
                }
                Err(refusal) => {
                    tracing::warn!(?refusal, "no checkpoint of the audit chain was signed this time")
                }
            }
        }
    }

    async fn sign_if_grown(&self, last: Option<u64>) -> Result<Option<u64>, Refusal> {
        let log = self.audit.log()?;
        let head = log.head().await?;
        if head.size == 0 || last == Some(head.size) {
            return Ok(None);
        }
        Ok(Some(self.sign().await?.checkpoint.size))
    }
}

/// Why nothing was signed, before it is told to anybody.
enum SignRefusal {
    Sign(SignError),
    Closed(GateError),
}

impl From<SignError> for SignRefusal {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}

impl From<GateError> for SignRefusal {
    fn from(error: GateError) -> Self {
        Self::Closed(error)
    }
}

impl SignRefusal {
    fn into_refusal(self) -> Refusal {
        match self {
            Self::Sign(error) => refusal(error),
            Self::Closed(error) => error.into(),
        }
    }
}

fn refusal(error: SignError) -> Refusal {
    match error {
        SignError::NoActiveKey => Refusal::Conflict(NO_KEY),
        SignError::NotHeld(_) => Refusal::Conflict(NOT_HELD),
        SignError::Overtaken => Refusal::Conflict(OVERTAKEN),
        SignError::Contradicted { .. } => Refusal::Conflict(CONTRADICTED),
        SignError::Read(error) => error.into(),
        SignError::Redis(error) => error.into(),
    }
}
