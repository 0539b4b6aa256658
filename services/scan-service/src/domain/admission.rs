//! Selects the quota that a request is charged to: that of a verified partner key, else that of the address.
//!
//! | presented | charged to | error |
//! | --- | --- | --- |
//! | nothing | the address | |
//! | a valid key with the scope `scan:partner` | the key; the address's quota is not touched | |
//! | a valid key without that scope | the address | 403 |
//! | an invalid key: malformed, unknown, revoked, expired or of a suspended tenant | the address | 401 |
//!
//! An authentic id that was never minted gets the 404 of a forged id, whatever key is presented, and raises
//! the alarm of a leaked tag secret.
//!
//! Each wrong key is charged to the quota of its address, so a client that guesses keys gets 429 once that is
//! used up. If limit and scan are one call, that call does all of this too (`lua/limited_scan.lua`).
//! Otherwise the key is verified first, then the limiters decide, and only then is anything counted or
//! written.

use std::sync::Arc;
use std::time::Duration;

use access::{ApiKey, Authenticated, KeyId, LastUse, Scope, authenticate_with_permit};
use ambient::Clock;
use redis_pool::{PoolError, PoolPermit, RedisPool};
use storage::{DeploymentState, DurableStorage, GateError};

use crate::domain::limits::{Limits, Quotas, Spent, Subject};

/// The key that a request presents.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    None,
    /// A well-formed key. Only Redis can tell whether it is valid.
    Key(ApiKey),
    /// A text that cannot be a key. It is not looked up.
    Unusable,
}

impl Credential {
    /// Returns the digest of a well-formed key, else nothing. It distinguishes a key from another text with
    /// the same id.
    pub(crate) fn proof(&self) -> &[u8] {
        match self {
            Self::Key(key) => key.digest().as_bytes(),
            Self::None | Self::Unusable => &[],
        }
    }
}

/// Why a presented key is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRejection {
    Invalid,
    /// The key lacks the scope.
    Forbidden,
}

/// The result of verifying the presented key. It selects the quota that the request is charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyCheck<'a> {
    /// The request presents no key. The address is charged.
    NotPresented,
    /// The key is valid and has the scope. The key is charged.
    Verified(&'a KeyId),
    /// The key is rejected. The address is charged.
    Rejected(KeyRejection),
}

impl KeyCheck<'_> {
    /// Whether the request is that of a verified partner.
    pub(crate) fn is_verified(self) -> bool {
        matches!(self, Self::Verified(_))
    }

    /// Returns why the key is rejected, if it is.
    pub(crate) fn rejection(self) -> Option<KeyRejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::NotPresented | Self::Verified(_) => None,
        }
    }
}

/// Why a request is not admitted.
#[derive(Debug)]
pub(crate) enum NotAdmitted {
    Denied {
        retry_after: Duration,
    },
    /// The process has not seen the durable Redis yet, or its state is lost.
    NotOpen(GateError),
    StateLost,
    /// The record of the key's tenant cannot be read.
    RecordLost,
    Redis(PoolError),
}

/// Verifies presented keys and charges quotas.
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

    /// Denies a caller whose last denial still holds, from memory and without a round trip.
    ///
    /// If the caller presents a key, only a denial of that key counts, and that key was verified when it was
    /// denied. A denial of the address does not count, because a valid key would not be charged to it.
    ///
    /// A remembered denial says nothing about the tag or the key, as a denial by the limiter does not. The
    /// alarm of an id that was never minted, and the error of a key that was revoked meanwhile, come once the
    /// caller may scan again.
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
            Some((retry_after, statuses)) => {
                *quotas = statuses;
                Err(NotAdmitted::Denied { retry_after })
            }
            None => Ok(()),
        }
    }

    /// Verifies the presented key, then charges one request to the quota that the result selects. A rejected
    /// key is not an error here: the caller of this function decides what the client gets.
    ///
    /// `permit` is a permit of the durable Redis. It is acquired first, so overload and outages are reported
    /// before any quota is charged.
    pub(crate) async fn admit<'a>(
        &self,
        permit: &PoolPermit,
        address: &str,
        credential: &'a Credential,
        quotas: &mut Quotas,
    ) -> Result<KeyCheck<'a>, NotAdmitted> {
        if let Some(deployment) = self.deployment.seen() {
            self.limits.note_deployment(deployment);
        }
        let check = self.verify(permit, credential).await?;
        let (subject, proof) = match check {
            KeyCheck::Verified(id) => (Subject::Key(id), credential.proof()),
            KeyCheck::NotPresented | KeyCheck::Rejected(_) => (Subject::Address(address), &[][..]),
        };
        match self.limits.spend(subject, proof, permit).await.map_err(NotAdmitted::Redis)? {
            Spent::Yes(statuses) => *quotas = statuses,
            Spent::No { retry_after, quotas: statuses } => {
                *quotas = statuses;
                return Err(NotAdmitted::Denied { retry_after });
            }
        }
        Ok(check)
    }

    /// Records that a partner's key was used, and continues the partner's trace.
    pub(crate) fn note_use(&self, key: &KeyId) {
        spans::continue_trace();
        self.last_use.note(key, self.clock.unix_millis());
    }

    async fn verify<'a>(
        &self,
        permit: &PoolPermit,
        credential: &'a Credential,
    ) -> Result<KeyCheck<'a>, NotAdmitted> {
        let key = match credential {
            Credential::None => return Ok(KeyCheck::NotPresented),
            Credential::Unusable => return Ok(KeyCheck::Rejected(KeyRejection::Invalid)),
            Credential::Key(key) => key,
        };
        let deployment = self.deployment.deployment().map_err(NotAdmitted::NotOpen)?;
        let found = authenticate_with_permit(&self.pool, permit, deployment.prefix(), key).await;
        match found.map_err(NotAdmitted::Redis)? {
            Authenticated::Principal(principal) if principal.scopes.contains(Scope::ScanPartner) => {
                self.note_use(key.id());
                Ok(KeyCheck::Verified(key.id()))
            }
            Authenticated::Principal(_) => Ok(KeyCheck::Rejected(KeyRejection::Forbidden)),
            Authenticated::Invalid | Authenticated::Suspended | Authenticated::TenantGone => {
                Ok(KeyCheck::Rejected(KeyRejection::Invalid))
            }
            Authenticated::StateLost => {
                self.deployment.report_lost(
                    "the lookup of a partner key found no deployment record, or that of another deployment",
                );
                Err(NotAdmitted::StateLost)
            }
            Authenticated::Damaged => Err(NotAdmitted::RecordLost),
        }
    }
}
