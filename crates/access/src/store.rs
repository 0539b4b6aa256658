//! Reads tenants and API keys, singly and in pages.

use redis::{Cmd, FromRedisValue, ToRedisArgs};
use redis_pool::RedisPool;
use time::OffsetDateTime;

use crate::brand::BrandKeys;
use crate::claims::Claims;
use crate::gtin::GtinRange;
use crate::key::KeyId;
use crate::keys;
use crate::records::{AccessRecordError, KeyRecord, StoredAccess, Tenant};
use crate::tenant_id::TenantId;

/// Reading tenants or keys failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccessError {
    /// Redis did not answer in time or rejected the command.
    #[error(transparent)]
    Redis(#[from] redis_pool::PoolError),
    /// A stored record cannot be decoded.
    #[error(transparent)]
    Record(#[from] AccessRecordError),
    /// A record that other keys refer to is missing or has the wrong type.
    #[error("the stored {what} is missing although it was written, or has the wrong type")]
    Lost {
        /// Its type and id, for the error message.
        what: String,
    },
    /// The cursor names a key that the tenant does not have.
    #[error("the page begins after a key that is not in the list")]
    UnknownCursor,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessPage<T, C> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next page, if there is one: the last id of this page.
    pub next: Option<C>,
}

/// An API key as listed: its record and its last use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyEntry {
    /// The key's record.
    pub record: KeyRecord,
    /// Last use, to the minute and reported about a minute late; `None` if it was never used.
    pub last_used_at: Option<OffsetDateTime>,
}

/// Read access to tenants and keys in the durable Redis.
#[derive(Debug, Clone)]
pub struct Access {
    pool: RedisPool,
}

impl Access {
    /// Creates a reader that sends its commands through `pool`.
    #[must_use]
    pub fn new(pool: RedisPool) -> Self {
        Self { pool }
    }

    /// Reads a tenant's record; `None` if there is none. Tenant `default` has none until it is first changed.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn tenant(&self, id: &TenantId) -> Result<Option<StoredAccess<Tenant>>, AccessError> {
        let bytes: Option<Vec<u8>> = self.query("GET", keys::tenant(id)).await?;
        if bytes.is_none() {
            let listed: Option<f64> = self.query("ZSCORE", (keys::TENANTS, id.as_str())).await?;
            if listed.is_some() {
                return Err(AccessError::Lost { what: format!("record of tenant {id}") });
            }
        }
        Ok(bytes.map(Tenant::decode).transpose()?)
    }

    /// Reads which tenants own brands that look like `brands`, and GTIN prefixes that overlap `ranges`.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn claims(&self, brands: &[BrandKeys], ranges: &[GtinRange]) -> Result<Claims, AccessError> {
        Ok(Claims::read(&self.pool, brands, ranges).await?)
    }

    /// Reads up to `limit` ids of tenants that have a record, in ascending order, beginning after `after`.
    ///
    /// Returns the ids, and the cursor of the next page if there is one.
    ///
    /// # Errors
    /// [`AccessError::Redis`].
    pub async fn tenant_ids(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<(Vec<TenantId>, Option<TenantId>), AccessError> {
        let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let mut range = Cmd::new();
        range.arg("ZRANGEBYLEX").arg(keys::TENANTS).arg(from).arg("+").arg("LIMIT").arg(0).arg(limit + 1);
        Ok(page::<TenantId>(self.run(range).await?, limit))
    }

    /// Reads up to `limit` tenants that have a record, in ascending order of their ids, beginning after
    /// `after`.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn tenants(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<AccessPage<Tenant, TenantId>, AccessError> {
        let (ids, next) = self.tenant_ids(after, limit).await?;
        let stored = self.all(ids.iter().map(keys::tenant).collect(), "tenant").await?;
        let items = stored.map(|bytes| Tenant::decode(bytes).map(|stored| stored.value));
        Ok(AccessPage { items: items.collect::<Result<_, _>>()?, next })
    }

    /// Reads the record of a key of any tenant; `None` if there is none.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn key(&self, id: &KeyId) -> Result<Option<StoredAccess<KeyRecord>>, AccessError> {
        let bytes: Option<Vec<u8>> = self.query("GET", keys::key(id)).await?;
        Ok(bytes.map(KeyRecord::decode).transpose()?)
    }

    /// Reads when a key was last used, to the minute; `None` if it was never used.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn last_used_at(&self, id: &KeyId) -> Result<Option<OffsetDateTime>, AccessError> {
        Ok(self.last_uses(&[*id]).await?.pop().flatten())
    }

    /// Reads up to `limit` of a tenant's keys, oldest first, beginning after the key with id `after`.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn keys_of(
        &self,
        tenant: &TenantId,
        after: Option<&KeyId>,
        limit: usize,
    ) -> Result<AccessPage<ApiKeyEntry, KeyId>, AccessError> {
        let list = keys::keys_of(tenant);
        let from = match after {
            None => 0,
            Some(id) => {
                let rank: Option<usize> = self.query("ZRANK", (&list, id.as_str())).await?;
                rank.ok_or(AccessError::UnknownCursor)? + 1
            }
        };
        let found: Vec<String> = self.query("ZRANGE", (&list, from, from + limit)).await?;
        let (ids, next) = page::<KeyId>(found, limit);
        let stored = self.all(ids.iter().map(keys::key).collect(), "API key").await?;
        let records = stored.map(|bytes| KeyRecord::decode(bytes).map(|stored| stored.value));
        let records: Vec<KeyRecord> = records.collect::<Result<_, _>>()?;
        let used = self.last_uses(&records.iter().map(|record| record.id).collect::<Vec<_>>()).await?;
        let items = records.into_iter().zip(used);
        let items = items.map(|(record, last_used_at)| ApiKeyEntry { record, last_used_at }).collect();
        Ok(AccessPage { items, next })
    }

    async fn last_uses(&self, ids: &[KeyId]) -> Result<Vec<Option<OffsetDateTime>>, AccessError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let fields: Vec<&str> = ids.iter().map(KeyId::as_str).collect();
        let minutes: Vec<Option<i64>> = self.query("HMGET", (keys::LAST_USE, fields)).await?;
        let time = |minutes: i64| OffsetDateTime::from_unix_timestamp(minutes.saturating_mul(60)).ok();
        Ok(minutes.into_iter().map(|minutes| minutes.and_then(time)).collect())
    }

    /// Reads the records of listed ids, all of which must exist.
    async fn all(
        &self,
        wanted: Vec<String>,
        kind: &str,
    ) -> Result<impl Iterator<Item = Vec<u8>> + use<>, AccessError> {
        let found: Vec<Option<Vec<u8>>> =
            if wanted.is_empty() { Vec::new() } else { self.query("MGET", &wanted).await? };
        if let Some(missing) = found.iter().position(Option::is_none) {
            return Err(AccessError::Lost { what: format!("record of {kind} {}", wanted[missing]) });
        }
        Ok(found.into_iter().flatten())
    }

    async fn query<T: FromRedisValue>(&self, verb: &str, args: impl ToRedisArgs) -> Result<T, AccessError> {
        let mut cmd = Cmd::new();
        cmd.arg(verb).arg(args);
        self.run(cmd).await
    }

    /// Runs one command. A Redis key of another type means that a record was overwritten, so it is lost.
    async fn run<T: FromRedisValue>(&self, cmd: Cmd) -> Result<T, AccessError> {
        let reply = self.pool.command(cmd).await.map_err(|error| match error {
            redis_pool::PoolError::Server { code, .. } if code == "WRONGTYPE" => {
                AccessError::Lost { what: "record of a tenant or an API key".to_owned() }
            }
            error => error.into(),
        })?;
        let parsed = redis::from_redis_value(reply);
        parsed.map_err(|error| redis_pool::PoolError::Reply { what: error.to_string() }.into())
    }
}

/// Returns the first `limit` ids of `found`, and the cursor of the next page if `found` holds more.
fn page<C: Clone + std::str::FromStr>(found: Vec<String>, limit: usize) -> (Vec<C>, Option<C>) {
    let has_more = found.len() > limit;
    let ids: Vec<C> = found.iter().take(limit).filter_map(|id| id.parse().ok()).collect();
    let next = ids.last().cloned().filter(|_| has_more);
    (ids, next)
}
