//! Who a request is counted by: a verified partner key, else the client's address.
//!
//! | shown | counted by | answered |
//! | --- | --- | --- |
//! | nothing | the address | |
//! | a key in force with the scope `scan:partner` | the key; the address is not touched | |
//! | a key in force without that scope | the address | 403 |
//! | a key that is unknown, revoked, expired, of a suspended tenant, or no key at all | the address | 401 |
//!
//! An id that proves itself and was never minted is the 404 of a forged one whatever is shown, with the alarm of a leaked tag secret.
//!
//! Whoever guesses keys spends its address's quota with each guess, and is told 429 once that is used up. Where limit and scan
//! are one call, that call does all of this too (`lua/limited_scan.lua`); elsewhere the key is looked up first, then the
//! limiters are asked, and only then is anything done.

use std::sync::Arc;
use std::time::Duration;

use access::{ApiKey, Authenticated, KeyId, LastUse, Scope, authenticate_with_permit};
use ambient::Clock;
use redis_pool::{PoolError, PoolPermit, RedisPool};
use storage::{DeploymentState, DurableStorage, GateError};

use crate::domain::limits::{Limits, Quotas, Spent, Subject};

/// What a request shows besides its address.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    None,
    /// A text of the right form; whether it is a key in force only Redis knows.
    Key(ApiKey),
    /// Something that can be no key. It is not looked up.
    Unusable,
}

impl Credential {
    /// What tells a key from another text with the same id.
    pub(crate) fn proof(&self) -> &[u8] {
        match self {
            Self::Key(key) => key.digest().as_bytes(),
            Self::None | Self::Unusable => &[],
        }
    }
}

/// Why a key that was shown does not admit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRefusal {
    Invalid,
    /// It lacks the scope.
    Forbidden,
}

/// Why a request is not admitted.
#[derive(Debug)]
pub(crate) enum NotAdmitted {
    Denied {
        retry_after: Duration,
    },
    /// The durable Redis has not been seen, or its state is lost.
    NotOpen(GateError),
    StateLost,
    /// What is stored of the key's tenant cannot be read.
    RecordLost,
    Redis(PoolError),
}

/// Admits requests.
pub(crate) struct Admission {
    pool: RedisPool,
    deployment: Arc<DeploymentState>,
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
    last_use: LastUse,
}

impl Admission {
    pub(crate) fn new(
        storage: &DurableStorage,
        clock: Arc<dyn Clock>,
        limits: Arc<Limits>,
        last_use: LastUse,
    ) -> Self {
        let (pool, deployment) = (storage.pool.clone(), Arc::clone(&storage.deployment));
        Self { pool, deployment, clock, limits, last_use }
    }

    /// Refuses a caller whose denial is still in force, without asking anybody. Of one that shows a key only a denial of that very key,
    /// which was verified then, is looked for: whether its address's counts, nobody knows before the key was verified.
    ///
    /// What is remembered says nothing of the tag or of the key, and neither does a denial by the limiter: an id that was never minted
    /// raises its alarm, and a key that was revoked meanwhile is told so, once the caller may come back.
    pub(crate) fn still_denied(
        &self,
        address: &str,
        credential: &Credential,
        quotas: &mut Quotas,
    ) -> Result<(), NotAdmitted> {
        let subject = match credential {
            Credential::Key(key) => Subject::Key(key.id()),
            Credential::None | Credential::Unusable => Subject::Address(address),
        };
        match self.limits.remembered(subject, credential.proof()) {
            Some((retry_after, said)) => {
                *quotas = said;
                Err(NotAdmitted::Denied { retry_after })
            }
            None => Ok(()),
        }
    }

    /// Verifies what is shown, then spends one request's worth of the quota that it is counted by. `permit` is one of the durable Redis: who
    /// has none yet is told "busy" or "away" before anything is spent. The inner result is of the key: whoever shows a wrong one has spent its
    /// address's quota, and what it is told the caller decides.
    pub(crate) async fn admit(
        &self,
        permit: &PoolPermit,
        address: &str,
        credential: &Credential,
        quotas: &mut Quotas,
    ) -> Result<Result<(), KeyRefusal>, NotAdmitted> {
        if let Some(deployment) = self.deployment.seen() {
            self.limits.see(deployment);
        }
        let partner = match credential {
            Credential::None => Ok(None),
            Credential::Unusable => Err(KeyRefusal::Invalid),
            Credential::Key(key) => self.verify(permit, key).await?.map(Some),
        };
        let (subject, proof) = match partner {
            Ok(Some(id)) => (Subject::Key(id), credential.proof()),
            Ok(None) | Err(_) => (Subject::Address(address), &[][..]),
        };
        match self.limits.spend(subject, proof, permit).await.map_err(NotAdmitted::Redis)? {
            Spent::Yes(said) => *quotas = said,
            Spent::No { retry_after, quotas: said } => {
                *quotas = said;
                return Err(NotAdmitted::Denied { retry_after });
            }
        }
        Ok(partner.map(|_| ()))
    }

    /// Notes that a partner's key was verified.
    pub(crate) fn note_use(&self, key: &KeyId) {
        self.last_use.note(key, self.clock.unix_millis());
    }

    async fn verify<'a>(
        &self,
        permit: &PoolPermit,
        key: &'a ApiKey,
    ) -> Result<Result<&'a KeyId, KeyRefusal>, NotAdmitted> {
        let deployment = self.deployment.deployment().map_err(NotAdmitted::NotOpen)?;
        let asked = authenticate_with_permit(&self.pool, permit, deployment.prefix(), key).await;
        match asked.map_err(NotAdmitted::Redis)? {
            Authenticated::Principal(known) if known.scopes.contains(Scope::ScanPartner) => {
                self.note_use(key.id());
                Ok(Ok(key.id()))
            }
            Authenticated::Principal(_) => Ok(Err(KeyRefusal::Forbidden)),
            Authenticated::Invalid | Authenticated::Suspended | Authenticated::TenantGone => {
                Ok(Err(KeyRefusal::Invalid))
            }
            Authenticated::StateLost => {
                self.deployment
                    .report_lost("a partner key was looked up and the deployment record was gone or another");
                Err(NotAdmitted::StateLost)
            }
            Authenticated::Damaged => Err(NotAdmitted::RecordLost),
        }
    }
}
