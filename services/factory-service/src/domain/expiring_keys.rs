//! Counts the API keys that will soon expire: `api_keys_expiring`.

use std::time::Duration;

use access::{Access, AccessError, KeyRecord, KeyStatus, TenantId};
use ambient::{Clock, entropy, from_unix_millis};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use time::OffsetDateTime;

/// A key that ends within this time is counted.
const SOON: time::Duration = time::Duration::days(14);
/// Pause between two counts.
const COUNT_EVERY: Duration = Duration::from_secs(300);
/// Pause after a count that failed, e.g. because Redis is not there yet.
const RETRY_EVERY: Duration = Duration::from_secs(10);
const PAGE: usize = 200;

/// The gauge of the keys that expire soon.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExpiringKeys(Gauge);

impl ExpiringKeys {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let expiring = Self::default();
        registry.register(
            "api_keys_expiring",
            "API keys that are valid and end within 14 days, counted every 5 minutes; a rotated one once",
            expiring.0.clone(),
        );
        expiring
    }

    /// Counts about once every five minutes. Never returns.
    pub(crate) async fn keep_counting(&self, access: &Access, clock: &dyn Clock) {
        loop {
            let now = from_unix_millis(clock.unix_millis());
            let pause = match spans::in_job("count expiring keys", count(access, now)).await {
                Ok(count) => {
                    self.0.set(count);
                    COUNT_EVERY
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot count the API keys that expire soon");
                    RETRY_EVERY
                }
            };
            tokio::time::sleep(entropy::jittered(pause, 200)).await;
        }
    }
}

async fn count(access: &Access, now: OffsetDateTime) -> Result<i64, AccessError> {
    // The default tenant has no record until it is first changed.
    let mut count = of_tenant(access, &TenantId::default_tenant(), now).await?;
    let mut after = None;
    loop {
        let (tenants, next) = access.tenant_ids(after.as_ref(), PAGE).await?;
        for tenant in tenants.iter().filter(|tenant| !tenant.is_default()) {
            count += of_tenant(access, tenant, now).await?;
        }
        let Some(next) = next else { return Ok(count) };
        after = Some(next);
    }
}

async fn of_tenant(access: &Access, tenant: &TenantId, now: OffsetDateTime) -> Result<i64, AccessError> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = access.keys_of(tenant, after.as_ref(), PAGE).await?;
        count += page.items.iter().map(|entry| i64::from(expires_soon(&entry.record, now))).sum::<i64>();
        let Some(next) = page.next else { return Ok(count) };
        after = Some(next);
    }
}

/// Of a rotated key only the successor counts: it ends at the same time.
fn expires_soon(record: &KeyRecord, now: OffsetDateTime) -> bool {
    record.status(now) == KeyStatus::Active && record.expires_at.is_some_and(|end| end - now <= SOON)
}
