//! Who has made a tag: the tenant behind it, as its record says, and whether its brand is a verified one.
//!
//! A tenant's record is read apart from the scan and kept for at most [`KEPT_FOR`], counted from when it was asked for: a name or a brand
//! that an operator changes shows on every instance by then. While a tenant is scanned its record is read again before that, in the
//! background, so that no scan waits for it. A tenant that is suspended is told of as before.
//!
//! How it fails: a record that is there and cannot be read, and one that is gone, make an issuer of which nothing is verified; the scan
//! stands. Where Redis cannot be asked the scan fails as with any other read, because a verified brand must not be shown as unverified.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use access::{Access, AccessError, Issuer, TenantId};
use ambient::Clock;
use quick_cache::sync::Cache;
use redis_pool::{PoolError, RedisPool};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::cached_batch::CachedBatch;

/// Tenants that are kept; some 10 KiB each at most.
const CAPACITY: usize = 1_000;
/// The longest that a record is used after it was asked for.
const KEPT_FOR: Duration = Duration::from_secs(5);
/// When a record in use is asked for again.
const RENEWED_AFTER: Duration = Duration::from_secs(2);

/// The issuer of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct IssuerAnswer {
    /// The tenant's name, or its id if it has no name.
    #[schema(example = "Acme Ltd")]
    pub(crate) name: String,
    /// Whether an operator has verified that the product's brand, and its GTIN if it has one, are the tenant's own.
    pub(crate) verified: bool,
}

/// A tenant as its record said.
#[derive(Debug)]
struct Kept {
    issuer: Issuer,
    asked_at: Duration,
    being_renewed: AtomicBool,
}

/// What may be done with a kept record of this age.
#[derive(Debug, PartialEq, Eq)]
enum Age {
    Fresh,
    ToRenew,
    Over,
}

fn age(asked_at: Duration, now: Duration) -> Age {
    match now.saturating_sub(asked_at) {
        age if age < RENEWED_AFTER => Age::Fresh,
        age if age < KEPT_FOR => Age::ToRenew,
        _ => Age::Over,
    }
}

/// The issuers of tags. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Issuers(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    access: Access,
    kept: Cache<String, Arc<Kept>>,
}

impl Issuers {
    pub(crate) fn new(pool: RedisPool, clock: Arc<dyn Clock>) -> Self {
        let access = Access::new(pool);
        Self(Arc::new(Inner { clock, access, kept: Cache::new(CAPACITY) }))
    }

    /// Who has made the tags of a batch. At most one round trip, and none while the tenant is kept.
    pub(crate) async fn of(&self, facts: &CachedBatch) -> Result<IssuerAnswer, PoolError> {
        let tenant = facts.batch.value.tenant.as_str();
        let kept = match self.0.kept.get(tenant) {
            Some(kept) => match age(kept.asked_at, self.0.clock.monotonic()) {
                Age::Fresh => kept,
                Age::ToRenew => {
                    self.renew(tenant, &kept);
                    kept
                }
                Age::Over => self.0.read(tenant).await?,
            },
            None => self.0.read(tenant).await?,
        };
        let gtin = facts.product.value.gtin.as_deref();
        let verified = kept.issuer.is_verified_for(&facts.brand, gtin);
        Ok(IssuerAnswer { name: kept.issuer.name().to_owned(), verified })
    }

    fn renew(&self, tenant: &str, kept: &Arc<Kept>) {
        if kept.being_renewed.swap(true, Ordering::AcqRel) {
            return;
        }
        let (inner, tenant, kept) = (Arc::clone(&self.0), tenant.to_owned(), Arc::clone(kept));
        tokio::spawn(async move {
            if inner.read(&tenant).await.is_err() {
                // The next scan tries again; once the time is over it says what is wrong.
                kept.being_renewed.store(false, Ordering::Release);
            }
        });
    }
}

impl Inner {
    async fn read(&self, tenant: &str) -> Result<Arc<Kept>, PoolError> {
        let asked_at = self.clock.monotonic();
        let issuer = self.issuer(tenant).await?;
        let kept = Arc::new(Kept { issuer, asked_at, being_renewed: AtomicBool::new(false) });
        self.kept.insert(tenant.to_owned(), Arc::clone(&kept));
        Ok(kept)
    }

    async fn issuer(&self, tenant: &str) -> Result<Issuer, PoolError> {
        let Ok(id) = tenant.parse::<TenantId>() else {
            tracing::warn!(tenant, "a batch names a tenant that can be none; its brand counts as unverified");
            return Ok(Issuer::unreadable(tenant));
        };
        let why = match self.access.tenant(&id).await {
            Ok(record) => return Ok(Issuer::of(&id, record.as_ref().map(|stored| &stored.value))),
            Err(AccessError::Redis(
                error @ (PoolError::Unavailable { .. } | PoolError::Overloaded { .. }),
            )) => {
                return Err(error);
            }
            Err(why) => why,
        };
        tracing::warn!(tenant, error = %why, "a tenant's record cannot be read; its brands count as unverified");
        Ok(Issuer::unreadable(tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_used_for_less_than_five_seconds_from_when_it_was_asked_for() {
        let at = Duration::from_millis;
        for (millis, expected) in [
            (0, Age::Fresh),
            (1_999, Age::Fresh),
            (2_000, Age::ToRenew),
            (4_999, Age::ToRenew),
            (5_000, Age::Over),
        ] {
            assert_eq!(age(at(7), at(7 + millis)), expected, "{millis}");
        }
    }
}
