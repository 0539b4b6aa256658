//! A durable Redis as the factory leaves it: a deployment, a product and a batch of tags.
//!
//! It is made with the crate catalog, because services do not import each other.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use access::{BrandName, Tenant};
use ambient::from_unix_millis;
use ambient::{Clock, SystemClock};
use audit_chain::{Appender, AppenderConfig, AuditMetrics, Event, NewEvent};
use catalog::{Batch, DeploymentGate, Expectation, Init, Product, Record, keys as stored_at};
use keyring::{KeyRef, KeyringAdmin, Move, Plan, Secrets, SigningKeys};
use redis::AsyncCommands;
use redis_pool::{PoolConfig, PoolMetrics, RedisPool};
use tag_id::{BatchNo, Epoch, MasterSecret, TagId, TagIndex, TagKeys};
use test_support::RedisServer;
use time::OffsetDateTime;

pub(crate) const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
pub(crate) const ORIGIN: &str = "voketag.local/audit";
pub(crate) const TENANT: &str = "acme";
/// The number of tags in a shop's batch.
pub(crate) const SIZE: u32 = 10;

pub(crate) struct Shop {
    pub(crate) redis: RedisServer,
    pub(crate) product: Product,
    pub(crate) batch: Batch,
    pub(crate) tag_keys: Arc<TagKeys>,
    revision: u32,
}

pub(crate) fn now() -> OffsetDateTime {
    from_unix_millis(SystemClock::new().unix_millis())
}

pub(crate) fn new_id() -> uuid::Uuid {
    ambient::uuid_v7(SystemClock::new().unix_millis())
}

fn tag_keys(secret: &str) -> Arc<TagKeys> {
    Arc::new(TagKeys::new(Some(MasterSecret::from_hex(secret).unwrap()), []))
}

/// Returns a pool with long timeouts.
pub(crate) fn pool(url: &str) -> RedisPool {
    let config = PoolConfig {
        name: "test",
        url: url.parse().unwrap(),
        permits: NonZeroUsize::new(4).unwrap(),
        connections: NonZeroUsize::MIN,
        wait: Duration::from_secs(10),
        command_timeout: Duration::from_secs(10),
        open_for: redis_pool::OPEN_FOR,
    };
    RedisPool::new(config, Arc::new(SystemClock::new()), &PoolMetrics::default())
}

/// Creates the deployment record of yesterday, because a region may be older than the test.
pub(crate) async fn make_deployment(redis: &RedisServer, secret: &str, origin: &str) -> DeploymentGate {
    let expectation = Expectation {
        tag_keys: tag_keys(secret),
        adds_epoch: Some(Epoch::MIN),
        audit_origin: origin.to_owned(),
    };
    let gate = DeploymentGate::new(pool(&redis.url()), expectation, Init::Auto);
    let deployment = gate.refresh(now() - time::Duration::DAY).await.unwrap();
    let secrets = secrets(tag_keys(secret), origin);
    keyring::seed::create(&pool(&redis.url()), deployment, &secrets, Epoch::MIN, now()).await.unwrap();
    gate
}

fn secrets(tags: Arc<TagKeys>, origin: &str) -> Secrets {
    Secrets { tags, signing: Arc::new(SigningKeys::none(origin)) }
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::open_in(RedisServer::start().await).await
    }

    pub(crate) async fn open_in(redis: RedisServer) -> Self {
        let gate = make_deployment(&redis, SECRET, ORIGIN).await;
        let product = Product {
            id: new_id(),
            tenant: TENANT.to_owned(),
            name: "Serum 30 ml".to_owned(),
            brand: "Acme".to_owned(),
            gtin: Some("4006381333931".to_owned()),
            created_at: now(),
            updated_at: now(),
        };
        let batch = Batch {
            id: new_id(),
            tenant: TENANT.to_owned(),
            batch_no: gate.draw_batch_no().await.unwrap().unwrap(),
            epoch: Epoch::MIN,
            size: SIZE,
            product_id: product.id,
            label: Some("spring".to_owned()),
            manufactured_at: Some(now().replace_nanosecond(0).unwrap()),
            expires_at: None,
            created_at: now(),
            revoked: None,
            recalled: None,
        };
        let mut shop = Self { redis, product, batch, tag_keys: tag_keys(SECRET), revision: 0 };
        shop.save().await;
        shop.save_tenant(&shop.tenant()).await;
        shop
    }

    /// Returns the shop's tenant, whose brand and GTIN prefix are verified.
    pub(crate) fn tenant(&self) -> Tenant {
        let mut tenant = Tenant::new(TENANT.parse().unwrap(), Some("Acme Ltd".to_owned()), now());
        tenant.gtin_prefixes = vec!["4006381".parse().unwrap()];
        tenant.with_brands(vec![BrandName::new("Acme").unwrap()])
    }

    pub(crate) async fn save_tenant(&self, tenant: &Tenant) {
        let mut connection = self.redis.connection().await;
        let () = connection.set(access::keys::tenant(&tenant.id), tenant.encode(1)).await.unwrap();
    }

    /// Stores the current product and batch as a change that other instances notice.
    pub(crate) async fn save(&mut self) {
        self.revision += 1;
        let mut connection = self.redis.connection().await;
        let () = connection
            .set(stored_at::product(&self.product.id), self.product.encode(self.revision))
            .await
            .unwrap();
        let () = connection
            .set(stored_at::batch(self.batch.batch_no), self.batch.encode(self.revision))
            .await
            .unwrap();
        let no = self.batch.batch_no.get();
        let minted = [&self.batch.size.to_be_bytes()[..], &self.batch.epoch.get().to_be_bytes()].concat();
        let () = connection.hset(stored_at::MINTED, no, minted).await.unwrap();
        let () = connection.set(stored_at::batch_no(&self.batch.id), no).await.unwrap();
    }

    /// Returns the id of a tag of the batch. From `SIZE` on, the id is authentic but was never minted.
    pub(crate) fn tag(&self, index: u32) -> TagId {
        self.tag_of(Epoch::MIN, self.batch.batch_no, index)
    }

    pub(crate) fn tag_of(&self, epoch: Epoch, batch: BatchNo, index: u32) -> TagId {
        self.tag_keys.mint(epoch, batch, TagIndex::new(index).unwrap()).unwrap()
    }

    /// Returns the Redis key of a tag's state.
    pub(crate) fn state_key(&self, index: u32) -> String {
        stored_at::tag(self.tag_keys.open(&self.tag(index)).unwrap().serial())
    }

    /// Returns the Redis key of a tag's revocation.
    pub(crate) fn revocation_key(&self, index: u32) -> String {
        stored_at::tag_revocation(self.tag_keys.open(&self.tag(index)).unwrap().serial())
    }

    /// Revokes one tag as the factory does: with a flag in the first byte of its state, and a record of the
    /// reason.
    pub(crate) async fn revoke_tag(&self, index: u32) {
        let mut connection = self.redis.connection().await;
        let key = self.state_key(index);
        let _: i64 = connection.setrange(key, 0, &[catalog::REVOKED_FLAG][..]).await.unwrap();
        let withdrawal = catalog::Withdrawal { at: now(), reason: "stolen".to_owned() };
        let record = catalog::store::TagRevocation { withdrawal };
        let () = connection.set(self.revocation_key(index), record.encode()).await.unwrap();
    }

    /// Changes the state of a tag epoch's key as the factory does, with its event. Returns the new keyring
    /// revision.
    pub(crate) async fn move_key(&self, epoch: u16, what: &Move) -> u32 {
        let pool = pool(&self.redis.url());
        let expectation = Expectation {
            tag_keys: Arc::clone(&self.tag_keys),
            adds_epoch: None,
            audit_origin: ORIGIN.to_owned(),
        };
        let gate = DeploymentGate::new(pool.clone(), expectation, Init::Never);
        let deployment = gate.refresh(now()).await.unwrap();
        let admin = KeyringAdmin::new(pool.clone(), secrets(Arc::clone(&self.tag_keys), ORIGIN));
        let key = KeyRef::tag(Epoch::new(epoch).unwrap());
        let Plan::Change(planned) = admin.plan(deployment, key, what, now()).await.unwrap() else {
            panic!("{what:?} of {key} changes nothing")
        };
        let config = AppenderConfig::new(ORIGIN, vec![deployment.guard()]);
        let appender = Appender::start(pool, config, Arc::new(SystemClock::new()), &AuditMetrics::default());
        let event = NewEvent {
            tenant: TENANT.to_owned(),
            actor: "key/test".to_owned(),
            action: planned.action.into(),
            resource: planned.resource,
            request_id: "r".to_owned(),
            ip: None,
            details: planned.details,
        };
        let event = Event::new(SystemClock::new().unix_millis(), new_id(), [0; 16], event).unwrap();
        appender.append(&event, planned.effect).await.unwrap();
        planned.revision
    }

    /// Makes `epoch` the active one. The one before becomes verify-only.
    pub(crate) async fn rotate_to(&self, epoch: u16) -> u32 {
        self.move_key(epoch, &Move::Add).await;
        self.move_key(epoch, &Move::Activate).await
    }

    pub(crate) async fn flush(&self) {
        flush(&self.redis).await;
    }
}

pub(crate) async fn flush(redis: &RedisServer) {
    let () = redis::cmd("FLUSHALL").query_async(&mut redis.connection().await).await.unwrap();
}

/// Returns the matching keys, sorted.
pub(crate) async fn keys(redis: &RedisServer, pattern: &str) -> Vec<String> {
    let mut connection = redis.connection().await;
    let mut found: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
    found.sort();
    found
}
