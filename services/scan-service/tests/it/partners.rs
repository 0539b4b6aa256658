//! Tenants and keys as the factory stores them, and scans of a partner.

use access::{ApiKey, Cause, KeyRecord, Scope, Scopes, Tenant, TenantId, keys};
use redis::AsyncCommands;
use reqwest::Method;
use serde_json::json;
use test_support::RedisServer;
use time::OffsetDateTime;

use crate::app::{Answer, App, open, send};
use crate::shop::{Shop, now};

/// The tenant of these tests' keys.
pub(crate) const BRAND: &str = "partner-brand";

/// A key and its stored record.
pub(crate) struct Partner {
    pub(crate) key: ApiKey,
    pub(crate) record: KeyRecord,
}

impl Partner {
    /// Creates a key that is not stored.
    pub(crate) fn stranger() -> Self {
        let key = ApiKey::generate();
        let record = KeyRecord {
            id: *key.id(),
            tenant: BRAND.parse().unwrap(),
            digest: *key.digest(),
            scopes: Scopes::from([Scope::ScanPartner]),
            label: None,
            created_at: now(),
            created_by: "key/test".to_owned(),
            expires_at: None,
            revoked: None,
            rotated: None,
            replaces: None,
        };
        Self { key, record }
    }

    /// Stores a valid key with the partner scope.
    pub(crate) async fn of(shop: &Shop) -> Self {
        Self::changed(shop, |_| {}).await
    }

    /// Stores a key after `change` has changed its record.
    pub(crate) async fn changed(shop: &Shop, change: impl FnOnce(&mut KeyRecord)) -> Self {
        put_tenant(shop, false).await;
        let mut partner = Self::stranger();
        change(&mut partner.record);
        partner.store(shop).await;
        partner
    }

    /// Stores the current record.
    pub(crate) async fn store(&self, shop: &Shop) {
        let mut connection = shop.redis.connection().await;
        let () = connection.set(keys::key(self.key.id()), self.record.encode(1)).await.unwrap();
    }

    pub(crate) async fn revoke(&mut self, shop: &Shop) {
        self.record = self.record.revoked(now(), "leaked");
        self.store(shop).await;
    }

    pub(crate) async fn scan(&self, app: &App, tag: impl std::fmt::Display) -> Answer {
        scan_with(app, self.key.reveal(), tag).await
    }
}

/// Stores the tenant of these tests' keys.
pub(crate) async fn put_tenant(shop: &Shop, suspended: bool) {
    let id: TenantId = BRAND.parse().unwrap();
    let suspended = suspended.then(|| Cause { at: now(), reason: "unpaid".to_owned() });
    let tenant = Tenant { suspended, ..Tenant::new(id.clone(), None, now()) };
    let mut connection = shop.redis.connection().await;
    let () = connection.set(keys::tenant(&id), tenant.encode(1)).await.unwrap();
}

pub(crate) async fn scan_with(app: &App, key: &str, tag: impl std::fmt::Display) -> Answer {
    send(app.request(Method::GET, &format!("/v1/scan/{tag}")).bearer_auth(key)).await
}

pub(crate) async fn report_with(app: &App, key: &str, tag: impl std::fmt::Display) -> Answer {
    let report = json!({"tag_id": tag.to_string(), "reason": "other"});
    send(app.request(Method::POST, "/v1/report").bearer_auth(key).json(&report)).await
}

/// Starts one instance that checks limits in the scan's Redis call, and one that checks them before, in the
/// returned Redis.
pub(crate) async fn both(shop: &Shop, settings: &[(&str, &str)]) -> (App, App, RedisServer) {
    let limiter = RedisServer::start().await;
    let url = limiter.url();
    let separate: Vec<_> =
        [("RATE_LIMIT_REDIS_URL", url.as_str())].into_iter().chain(settings.iter().copied()).collect();
    let (combined, separate) = (open(shop, settings).await, open(shop, &separate).await);
    (combined, separate, limiter)
}

/// Returns the time after that duration from now.
pub(crate) fn in_ms(ms: i64) -> OffsetDateTime {
    now() + time::Duration::milliseconds(ms)
}

impl Answer {
    /// Returns name, limit and remainder of the first quota.
    #[track_caller]
    pub(crate) fn first_rate(&self) -> (String, u64, u64) {
        let first = self.rates().swap_remove(0);
        (first.name, first.quota, first.remaining)
    }

    /// Checks that the key was rejected and the quota of the address was charged.
    #[track_caller]
    pub(crate) fn assert_key_rejected(&self, status: u16, slug: &str) {
        self.assert_problem(status, slug);
        assert_eq!(self.first_rate().0, "ip", "{}", self.text);
        assert_eq!(self.header("www-authenticate"), (status == 401).then_some("Bearer"));
    }
}
