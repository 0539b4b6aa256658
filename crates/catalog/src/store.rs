//! Reads of the catalogue: one product, one batch, a page of a tenant's products or batches, a tag's state.

use redis::{Cmd, FromRedisValue, ToRedisArgs};
use redis_pool::RedisPool;
use serde::{Deserialize, Serialize};
use tag_id::{BatchNo, Opened};
use uuid::Uuid;

use crate::keys;
use crate::minted::Minted;
use crate::records::{Batch, CatalogRecordError, Product, Record, StoredRecord, Withdrawal};
use crate::tag_state::{NoTagState, TagState};

/// How a read of the catalogue fails.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    /// Redis did not answer in time or rejected the command.
    #[error(transparent)]
    Redis(#[from] redis_pool::PoolError),
    /// A stored record cannot be decoded.
    #[error(transparent)]
    Record(#[from] CatalogRecordError),
    /// The stored state of a tag cannot be decoded.
    #[error(transparent)]
    TagState(#[from] NoTagState),
    /// A value that was written, as other keys show, is missing or has another type.
    #[error("the {what} was written before, and now it is missing or cannot be read")]
    RecordLost {
        /// The kind and id of the value, for people.
        what: String,
    },
}

fn lost(what: impl std::fmt::Display) -> CatalogError {
    CatalogError::RecordLost { what: what.to_string() }
}

/// One page of a list, in order of creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogPage<T> {
    /// The items.
    pub items: Vec<T>,
    /// The last id of this page if another page follows; pass it as `after`.
    pub next: Option<Uuid>,
}

/// The stored record of a tag's revocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRevocation {
    /// When and why.
    #[serde(flatten)]
    pub withdrawal: Withdrawal,
}

impl TagRevocation {
    /// Encodes the record for storage.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data is always serialisable into memory")
    }

    fn decode(bytes: &[u8]) -> Result<Self, CatalogRecordError> {
        serde_json::from_slice(bytes)
            .map_err(|error| CatalogRecordError::new("tag revocation", error.to_string()))
    }
}

/// Read access to the catalogue in the durable Redis.
///
/// ```
/// # use std::num::NonZeroUsize;
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// use catalog::{Catalog, Product, Record, keys};
/// use redis::AsyncCommands;
/// # use redis_pool::{PoolConfig, PoolMetrics, RedisPool};
/// # use test_support::RedisServer;
/// # use time::macros::datetime;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let redis = RedisServer::start().await;
/// # let config = PoolConfig {
/// #     name: "durable",
/// #     url: redis.url().parse().unwrap(),
/// #     permits: NonZeroUsize::MIN,
/// #     connections: NonZeroUsize::MIN,
/// #     wait: Duration::from_secs(10),
/// #     command_timeout: Duration::from_secs(10),
/// #     open_for: redis_pool::OPEN_FOR,
/// # };
/// # let pool = RedisPool::new(config, Arc::new(ambient::SystemClock::new()), &PoolMetrics::default());
/// # let mut connection = redis.connection().await;
/// # let now = datetime!(2026-02-16 12:00 UTC);
/// # let product = Product {
/// #     id: uuid::Uuid::from_u128(1),
/// #     tenant: "acme".to_owned(),
/// #     name: "Coat".to_owned(),
/// #     brand: "Acme".to_owned(),
/// #     gtin: None,
/// #     created_at: now,
/// #     updated_at: now,
/// # };
/// let catalog = Catalog::new(pool);
/// assert!(catalog.product(&product.id).await?.is_none());
///
/// let () = connection.set(keys::product(&product.id), product.encode(1)).await.unwrap();
/// let stored = catalog.product(&product.id).await?.expect("it was just stored");
/// assert_eq!((stored.revision, &stored.value), (1, &product));
///
/// let () = connection.set(keys::product(&product.id), "damaged").await.unwrap();
/// assert!(catalog.product(&product.id).await.is_err(), "a damaged record is never a missing one");
/// # Ok::<(), catalog::CatalogError>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Catalog {
    pool: RedisPool,
}

impl Catalog {
    /// Creates a reader that uses `pool`.
    #[must_use]
    pub fn new(pool: RedisPool) -> Self {
        Self { pool }
    }

    /// Reads a product of any tenant.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn product(&self, id: &Uuid) -> Result<Option<StoredRecord<Product>>, CatalogError> {
        self.record(keys::product(id), || format!("record of product {id}")).await
    }

    /// Reads a product of any tenant. If there is no record, checks the product list of `tenant`.
    ///
    /// # Errors
    /// [`CatalogError::RecordLost`] if the list has the product and its record is missing; else see
    /// [`CatalogError`].
    pub async fn product_of(
        &self,
        id: &Uuid,
        tenant: &str,
    ) -> Result<Option<StoredRecord<Product>>, CatalogError> {
        let found = self.product(id).await?;
        if found.is_none() && self.is_listed(keys::products_of(tenant), id).await? {
            return Err(lost(format!("record of product {id}")));
        }
        Ok(found)
    }

    /// Reads a batch by its number.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn batch_by_no(&self, no: BatchNo) -> Result<Option<StoredRecord<Batch>>, CatalogError> {
        self.record(keys::batch(no), || format!("record of batch number {no}")).await
    }

    /// Reads the minted-batch index entry of a batch number, even if the batch record cannot be read.
    ///
    /// Returns `None` if the number is unused, or if [`crate::minted::note_all`] has yet to add an older
    /// batch.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn minted(&self, no: BatchNo) -> Result<Option<Minted>, CatalogError> {
        let mut get = Cmd::new();
        get.arg("HGET").arg(keys::MINTED).arg(no.get());
        let entry: Option<Vec<u8>> = self.read(get, || "minted-batch index".to_owned()).await?;
        let damaged = || lost(format!("minted-batch index entry of batch number {no}"));
        entry.map(|bytes| Minted::parse(&bytes).ok_or_else(damaged)).transpose()
    }

    /// Reads the batch that `tag` was minted in; returns `None` if no such tag was ever minted.
    ///
    /// # Errors
    /// [`CatalogError::RecordLost`] if the tag was minted and its batch record is missing; else see
    /// [`CatalogError`].
    pub async fn batch_of_tag(&self, tag: &Opened) -> Result<Option<StoredRecord<Batch>>, CatalogError> {
        if let Some(batch) = self.batch_by_no(tag.batch).await? {
            return Ok(Some(batch).filter(|batch| batch.value.holds(tag.epoch, tag.index)));
        }
        match self.minted(tag.batch).await? {
            Some(minted) if minted.holds(tag.epoch, tag.index) => {
                Err(lost(format!("record of batch number {}", tag.batch)))
            }
            _ => Ok(None),
        }
    }

    /// Reads a batch of any tenant by its public id. If the id has no number, checks the batch list of
    /// `tenant`.
    ///
    /// # Errors
    /// [`CatalogError::RecordLost`] if the batch was minted and its record is missing; else see
    /// [`CatalogError`].
    pub async fn batch(&self, id: &Uuid, tenant: &str) -> Result<Option<StoredRecord<Batch>>, CatalogError> {
        let what = || format!("record of batch {id}");
        let number: Option<Vec<u8>> = self.ask("GET", &[keys::batch_no(id)], what).await?;
        let Some(number) = number else {
            return match self.is_listed(keys::batches_of(tenant), id).await? {
                true => Err(lost(what())),
                false => Ok(None),
            };
        };
        let number =
            std::str::from_utf8(&number).ok().and_then(|text| text.parse().ok()).and_then(BatchNo::new);
        let stored = self.batch_by_no(number.ok_or_else(|| lost(what()))?).await?;
        match stored.filter(|stored| stored.value.id == *id) {
            Some(stored) => Ok(Some(stored)),
            None => Err(lost(what())),
        }
    }

    /// Reads up to `limit` products of a tenant that follow the id `after`.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn products(
        &self,
        tenant: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<CatalogPage<Product>, CatalogError> {
        let (ids, next) = self.ids(keys::products_of(tenant), after, limit).await?;
        let items = self.records(ids.iter().map(keys::product).collect(), &ids).await?;
        Ok(CatalogPage { items, next })
    }

    /// Reads up to `limit` batches of a tenant that follow the id `after`.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn batches(
        &self,
        tenant: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<CatalogPage<Batch>, CatalogError> {
        let (ids, next) = self.ids(keys::batches_of(tenant), after, limit).await?;
        if ids.is_empty() {
            return Ok(CatalogPage { items: Vec::new(), next });
        }
        let wanted: Vec<_> = ids.iter().map(keys::batch_no).collect();
        let numbers: Vec<Option<Vec<u8>>> =
            self.ask("MGET", &wanted, || "number of a batch".to_owned()).await?;
        let number = |(bytes, id): (Option<Vec<u8>>, &Uuid)| {
            let number = bytes.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
            number.and_then(BatchNo::new).ok_or_else(|| lost(format!("record of batch {id}")))
        };
        let numbers = numbers.into_iter().zip(&ids).map(number).collect::<Result<Vec<_>, _>>()?;
        let items = self.records(numbers.into_iter().map(keys::batch).collect(), &ids).await?;
        Ok(CatalogPage { items, next })
    }

    /// As [`Self::batches`], with `None` for each batch whose record is missing or damaged.
    ///
    /// # Errors
    /// [`CatalogError::Redis`]; [`CatalogError::RecordLost`] if the list itself cannot be read.
    pub async fn batches_or_gaps(
        &self,
        tenant: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<CatalogPage<Option<Batch>>, CatalogError> {
        let (ids, next) = self.ids(keys::batches_of(tenant), after, limit).await?;
        if ids.is_empty() {
            return Ok(CatalogPage { items: Vec::new(), next });
        }
        let what = || "record in a list".to_owned();
        let numbers: Vec<Option<Vec<u8>>> =
            self.ask("MGET", &ids.iter().map(keys::batch_no).collect::<Vec<_>>(), what).await?;
        let number = |text: Vec<u8>| BatchNo::new(std::str::from_utf8(&text).ok()?.parse().ok()?);
        let numbers: Vec<Option<BatchNo>> = numbers.into_iter().map(|text| number(text?)).collect();
        let known: Vec<String> = numbers.iter().flatten().map(|no| keys::batch(*no)).collect();
        let found: Vec<Option<Vec<u8>>> =
            if known.is_empty() { Vec::new() } else { self.ask("MGET", &known, what).await? };
        let mut found = found.into_iter();
        let mut next_record = || Batch::decode(found.next().flatten()?).ok().map(|stored| stored.value);
        let items = numbers.into_iter().map(|number| number.and_then(|_| next_record())).collect();
        Ok(CatalogPage { items, next })
    }

    /// Reads a tag's state and revocation. A tag with a revocation record is revoked even if its state is
    /// lost.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn tag(&self, serial: [u8; 6]) -> Result<(TagState, Option<TagRevocation>), CatalogError> {
        let what = || "state of a tag".to_owned();
        // Two GETs, not one MGET: only GET reports a value of another type.
        let state: Option<Vec<u8>> = self.ask("GET", &[keys::tag(serial)], what).await?;
        let revocation: Option<Vec<u8>> = self.ask("GET", &[keys::tag_revocation(serial)], what).await?;
        let revocation = revocation.map(|bytes| TagRevocation::decode(&bytes)).transpose()?;
        let mut state = TagState::parse(state.as_deref())?;
        state.revoked |= revocation.is_some();
        Ok((state, revocation))
    }

    pub(crate) fn pool(&self) -> &RedisPool {
        &self.pool
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
        let found: Vec<String> = self.read(range, || "list of a tenant".to_owned()).await?;
        let mut ids: Vec<Uuid> = found.iter().filter_map(|id| id.parse().ok()).collect();
        let more = ids.len() > limit;
        ids.truncate(limit);
        let next = ids.last().copied().filter(|_| more);
        Ok((ids, next))
    }

    /// Whether a tenant's list contains an id.
    async fn is_listed(&self, list: String, id: &Uuid) -> Result<bool, CatalogError> {
        let mut score = Cmd::new();
        score.arg("ZSCORE").arg(list).arg(id.to_string());
        Ok(self.read::<Option<f64>>(score, || "list of a tenant".to_owned()).await?.is_some())
    }

    async fn record<R: Record>(
        &self,
        key: String,
        what: impl Fn() -> String,
    ) -> Result<Option<StoredRecord<R>>, CatalogError> {
        let bytes: Option<Vec<u8>> = self.ask("GET", &[key], what).await?;
        Ok(bytes.map(R::decode).transpose()?)
    }

    /// Reads the records under `wanted`, each of which must exist. `ids` are their public ids, for errors.
    async fn records<R: Record>(&self, wanted: Vec<String>, ids: &[Uuid]) -> Result<Vec<R>, CatalogError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let found: Vec<Option<Vec<u8>>> = self.ask("MGET", &wanted, || "record in a list".to_owned()).await?;
        let record = |(bytes, id): (Option<Vec<u8>>, &Uuid)| {
            let bytes = bytes.ok_or_else(|| lost(format!("record of {} {id}", R::KIND)))?;
            Ok(R::decode(bytes)?.value)
        };
        found.into_iter().zip(ids).map(record).collect()
    }

    async fn ask<T: FromRedisValue>(
        &self,
        verb: &str,
        keys: &[impl ToRedisArgs],
        what: impl Fn() -> String,
    ) -> Result<T, CatalogError> {
        let mut cmd = Cmd::new();
        cmd.arg(verb).arg(keys);
        self.read(cmd, what).await
    }

    /// Sends a command and parses its reply. A key of another type is a lost value; `what` describes it.
    async fn read<T: FromRedisValue>(&self, cmd: Cmd, what: impl Fn() -> String) -> Result<T, CatalogError> {
        let reply = self.pool.command(cmd).await.map_err(|error| match error {
            redis_pool::PoolError::Server { code, .. } if code == "WRONGTYPE" => lost(what()),
            error => error.into(),
        })?;
        let parsed = redis::from_redis_value(reply);
        parsed.map_err(|error| redis_pool::PoolError::Reply { what: error.to_string() }.into())
    }
}
