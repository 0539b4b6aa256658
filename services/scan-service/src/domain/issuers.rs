//! The issuer of a tag: the tenant that minted it, and whether the product's brand is verified to be its own.
//!
//! A tenant's record is read separately from the scan, and cached for at most [`MAX_AGE`] from the start of
//! the read. So every instance shows a changed name or brand within that time. While a tenant's tags are
//! scanned, its record is refreshed earlier in the background, so that no scan waits for it. A suspended
//! tenant is shown like any other.
//!
//! Failures: if the record is missing or cannot be read, the issuer has no verified brand, and the scan
//! succeeds. If Redis is unavailable, the scan fails like any other read, because a verified brand must not
//! be shown as unverified.

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

/// The most tenants in the cache. Each takes at most about 10 KiB.
const CAPACITY: usize = 1_000;
/// How long a record is used, from the start of its read.
const MAX_AGE: Duration = Duration::from_secs(5);
/// The age at which a record in use is refreshed.
const REFRESH_AFTER: Duration = Duration::from_secs(2);

/// The issuer of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct IssuerAnswer {
    /// The tenant's name, or its id if it has no name.
    #[schema(example = "Acme Ltd")]
    pub(crate) name: String,
    /// Whether an operator has verified that the product's brand, and its GTIN if it has one, belong to the
    /// tenant.
    pub(crate) verified: bool,
}

/// A cached issuer.
#[derive(Debug)]
struct CachedIssuer {
    issuer: Issuer,
    /// When the read started, in monotonic time.
    read_at: Duration,
    refreshing: AtomicBool,
}

/// Whether a cached record may be used.
#[derive(Debug, PartialEq, Eq)]
enum Age {
    Fresh,
    /// The record may be used, and must be refreshed.
    Stale,
    Expired,
}

fn age(read_at: Duration, now: Duration) -> Age {
    match now.saturating_sub(read_at) {
        age if age < REFRESH_AFTER => Age::Fresh,
        age if age < MAX_AGE => Age::Stale,
        _ => Age::Expired,
    }
}

/// The issuers of tags. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Issuers(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    access: Access,
    by_tenant: Cache<String, Arc<CachedIssuer>>,
}

impl Issuers {
    pub(crate) fn new(pool: RedisPool, clock: Arc<dyn Clock>) -> Self {
        let access = Access::new(pool);
        Self(Arc::new(Inner { clock, access, by_tenant: Cache::new(CAPACITY) }))
    }

    /// Returns the issuer of a batch's tags. Costs at most one round trip, and none while the tenant is
    /// cached.
    pub(crate) async fn of(&self, batch: &CachedBatch) -> Result<IssuerAnswer, PoolError> {
        let tenant = batch.batch.value.tenant.as_str();
        let cached = match self.0.by_tenant.get(tenant) {
            Some(cached) => match age(cached.read_at, self.0.clock.monotonic()) {
                Age::Fresh => cached,
                Age::Stale => {
                    self.refresh(tenant, &cached);
                    cached
                }
                Age::Expired => self.0.read(tenant).await?,
            },
            None => self.0.read(tenant).await?,
        };
        let gtin = batch.product.value.gtin.as_deref();
        let verified = cached.issuer.is_verified_for(&batch.brand, gtin);
        Ok(IssuerAnswer { name: cached.issuer.name().to_owned(), verified })
    }

    fn refresh(&self, tenant: &str, cached: &Arc<CachedIssuer>) {
        if cached.refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (inner, tenant, cached) = (Arc::clone(&self.0), tenant.to_owned(), Arc::clone(cached));
        tokio::spawn(async move {
            if spans::in_job("read issuer", inner.read(&tenant)).await.is_err() {
                // The next scan tries again. Once the record has expired, a scan reports the error.
                cached.refreshing.store(false, Ordering::Release);
            }
        });
    }
}

impl Inner {
    async fn read(&self, tenant: &str) -> Result<Arc<CachedIssuer>, PoolError> {
        let read_at = self.clock.monotonic();
        let issuer = self.issuer(tenant).await?;
        let cached = Arc::new(CachedIssuer { issuer, read_at, refreshing: AtomicBool::new(false) });
        self.by_tenant.insert(tenant.to_owned(), Arc::clone(&cached));
        Ok(cached)
    }

    async fn issuer(&self, tenant: &str) -> Result<Issuer, PoolError> {
        let Ok(id) = tenant.parse::<TenantId>() else {
            tracing::warn!(tenant, "batch names an invalid tenant id; its brand counts as unverified");
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
        tracing::warn!(tenant, error = %why, "tenant record unreadable; its brands count as unverified");
        Ok(Issuer::unreadable(tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_refreshed_after_two_seconds_and_expires_five_seconds_after_its_read_started() {
        let at = Duration::from_millis;
        for (millis, expected) in [
            (0, Age::Fresh),
            (1_999, Age::Fresh),
            (2_000, Age::Stale),
            (4_999, Age::Stale),
            (5_000, Age::Expired),
        ] {
            assert_eq!(age(at(7), at(7 + millis)), expected, "{millis}");
        }
    }
}
