//! Reading the catalogue: one product, one batch, pages of a tenant's, a tag's state.

use redis::{Cmd, FromRedisValue, ToRedisArgs, Value};
use redis_pool::RedisPool;
use serde::{Deserialize, Serialize};
use tag_id::BatchNo;
use uuid::Uuid;

use crate::keys;
use crate::records::{Batch, Product, Record, RecordError, Stored, Withdrawal};
use crate::tag_state::{NoTagState, TagState};

/// A read that brought nothing usable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    /// Redis did not answer.
    #[error(transparent)]
    Redis(#[from] redis_pool::Error),
    /// What is stored cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A tag's stored state cannot be read.
    #[error(transparent)]
    TagState(#[from] NoTagState),
}

/// One page of a list, in the order of creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins, if there is one: the last id of this page.
    pub next: Option<Uuid>,
}

/// Why and when one tag was revoked, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRevocation {
    /// When and why.
    #[serde(flatten)]
    pub withdrawal: Withdrawal,
}

impl TagRevocation {
    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data is always serialisable into memory")
    }

    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        serde_json::from_slice(bytes).map_err(|error| RecordError::new("tag revocation", error.to_string()))
    }
}

/// Read access to the catalogue in the durable Redis.
#[derive(Debug, Clone)]
pub struct Catalog {
    pool: RedisPool,
}

impl Catalog {
    /// Reads through `pool`.
    #[must_use]
    pub fn new(pool: RedisPool) -> Self {
        Self { pool }
    }

    /// A product, whoever it belongs to.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn product(&self, id: &Uuid) -> Result<Option<Stored<Product>>, CatalogError> {
        self.record(keys::product(id)).await
    }

    /// A batch by its number.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn batch_by_no(&self, no: BatchNo) -> Result<Option<Stored<Batch>>, CatalogError> {
        self.record(keys::batch(no)).await
    }

    /// A batch by its public id, whoever it belongs to.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn batch(&self, id: &Uuid) -> Result<Option<Stored<Batch>>, CatalogError> {
        let no: Option<u32> = self.ask("GET", &[keys::batch_no(id)]).await?;
        match no.and_then(BatchNo::new) {
            Some(no) => self.batch_by_no(no).await,
            None => Ok(None),
        }
    }

    /// Up to `limit` of a tenant's products after the one with id `after`.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn products(
        &self,
        tenant: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<Product>, CatalogError> {
        let (ids, next) = self.ids(keys::products_of(tenant), after, limit).await?;
        let items = self.records(ids.iter().map(keys::product).collect()).await?;
        Ok(Page { items, next })
    }

    /// Up to `limit` of a tenant's batches after the one with id `after`.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn batches(
        &self,
        tenant: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<Batch>, CatalogError> {
        let (ids, next) = self.ids(keys::batches_of(tenant), after, limit).await?;
        if ids.is_empty() {
            return Ok(Page { items: Vec::new(), next });
        }
        let numbers: Vec<Option<u32>> =
            self.ask("MGET", &ids.iter().map(keys::batch_no).collect::<Vec<_>>()).await?;
        let numbers = numbers.into_iter().flatten().filter_map(BatchNo::new);
        let items = self.records(numbers.map(keys::batch).collect()).await?;
        Ok(Page { items, next })
    }

    /// A tag's state, and why it is revoked if it is.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn tag(&self, serial: [u8; 6]) -> Result<(TagState, Option<TagRevocation>), CatalogError> {
        let wanted = [keys::tag(serial), keys::tag_revocation(serial)];
        let (state, revocation): (Option<Vec<u8>>, Option<Vec<u8>>) = self.ask("MGET", &wanted).await?;
        let revocation = revocation.map(|bytes| TagRevocation::decode(&bytes)).transpose()?;
        Ok((TagState::parse(state.as_deref())?, revocation))
    }

    async fn ids(
        &self,
        key: String,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<Uuid>, Option<Uuid>), CatalogError> {
        let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let mut range = Cmd::new();
        range.arg("ZRANGEBYLEX").arg(key).arg(from).arg("+").arg("LIMIT").arg(0).arg(limit + 1);
        let found: Vec<String> = read(self.pool.command(range).await?)?;
        let mut ids: Vec<Uuid> = found.iter().filter_map(|id| id.parse().ok()).collect();
        let more = ids.len() > limit;
        ids.truncate(limit);
        let next = ids.last().copied().filter(|_| more);
        Ok((ids, next))
    }

    async fn record<R: Record>(&self, key: String) -> Result<Option<Stored<R>>, CatalogError> {
        let bytes: Option<Vec<u8>> = self.ask("GET", &[key]).await?;
        Ok(bytes.map(R::decode).transpose()?)
    }

    async fn records<R: Record>(&self, wanted: Vec<String>) -> Result<Vec<R>, CatalogError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let found: Vec<Option<Vec<u8>>> = self.ask("MGET", &wanted).await?;
        let records = found.into_iter().flatten().map(|bytes| R::decode(bytes).map(|stored| stored.value));
        Ok(records.collect::<Result<_, _>>()?)
    }

    async fn ask<T: FromRedisValue>(&self, verb: &str, keys: &[impl ToRedisArgs]) -> Result<T, CatalogError> {
        let mut cmd = Cmd::new();
        cmd.arg(verb).arg(keys);
        read(self.pool.command(cmd).await?)
    }
}

fn read<T: FromRedisValue>(reply: Value) -> Result<T, CatalogError> {
    let parsed = redis::from_redis_value(reply);
    parsed.map_err(|error| redis_pool::Error::Reply { what: error.to_string() }.into())
}
