//! Shows single tags, returns the URLs in their QR codes, and revokes them.

use std::sync::Arc;

use ambient::from_unix_millis;
use audit_chain::{AuditAction, Details, Effect, Precondition, RedisWrite};
use catalog::store::TagRevocation;
use catalog::{Batch, Lifecycle, REVOKED_FLAG, TagState, Withdrawal, keys};
use idempotency::StoredResponse;
use storage::{TrustedKey, UntrustedKey};
use tag_id::{Crockford, Opened, TagId, TagKeys};
use time::OffsetDateTime;

use crate::domain::error::FactoryError;
use crate::domain::identity::Caller;
use crate::domain::input::Reason;
use crate::domain::store::{Store, Written};

/// The prefix of every tag's URL.
#[derive(Debug, Clone)]
pub(crate) struct TagUrls(Arc<str>);

impl TagUrls {
    /// Returns the URLs below `base`, which does not end with a slash. Without a base, which a command of the
    /// operator does not need, a URL is only a path.
    pub(crate) fn below(base: Option<&str>) -> Self {
        Self(format!("{}/t/", base.unwrap_or_default()).into())
    }

    /// Returns the text before the Crockford form.
    pub(crate) fn prefix(&self) -> &str {
        &self.0
    }

    /// Returns the URL in the tag's QR code.
    pub(crate) fn of(&self, crockford: &Crockford) -> String {
        format!("{}{crockford}", self.0)
    }
}

/// What an operator sees of a tag.
#[derive(Debug)]
pub(crate) struct TagView {
    pub(crate) id: TagId,
    pub(crate) url: String,
    pub(crate) opened: Opened,
    pub(crate) batch: Batch,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) scan_count: u32,
    /// The first and the last scan.
    pub(crate) scanned_at: Option<(OffsetDateTime, OffsetDateTime)>,
    /// The revocation of this tag, not of its batch.
    pub(crate) revoked: Option<Withdrawal>,
}

/// A tag that was minted for the caller's tenant.
#[derive(Clone)]
struct Minted {
    id: TagId,
    opened: Opened,
    key: TrustedKey,
    batch: Batch,
}

/// The tags of all tenants.
pub(crate) struct Tags {
    store: Store,
    tag_keys: Arc<TagKeys>,
    urls: TagUrls,
}

impl Tags {
    pub(crate) fn new(store: Store, tag_keys: Arc<TagKeys>, urls: TagUrls) -> Self {
        Self { store, tag_keys, urls }
    }

    pub(crate) async fn show(&self, caller: &Caller, id: TagId) -> Result<TagView, FactoryError> {
        let minted = self.minted(caller, id).await?;
        let (state, revocation) = self.store.read(self.store.catalog().tag(minted.opened.serial())).await?;
        Ok(self.view(minted, state, revocation))
    }

    /// Returns the URL of a tag that was minted.
    pub(crate) async fn url(&self, caller: &Caller, id: TagId) -> Result<String, FactoryError> {
        let minted = self.minted(caller, id).await?;
        Ok(self.urls.of(&minted.id.crockford()))
    }

    /// Revokes one tag. A repeat keeps the first time and reason and appends no event.
    pub(crate) async fn revoke(
        &self,
        caller: &Caller,
        id: TagId,
        reason: Reason,
        answer: impl Fn(TagView) -> StoredResponse,
    ) -> Result<StoredResponse, FactoryError> {
        let minted = self.minted(caller, id).await?;
        let serial = minted.opened.serial();
        let (state, revocation) = self.store.read(self.store.catalog().tag(serial)).await?;
        if state.revoked {
            return Ok(answer(self.view(minted, state, revocation)));
        }
        let withdrawal = Withdrawal { at: self.store.now(), reason: reason.into_string() };
        let details = Details::new()
            .with("reason", withdrawal.reason.as_str())
            .with("batch_id", minted.batch.id.to_string());
        let revocation = TagRevocation { withdrawal };
        let key = keys::tag(serial);
        let effect = Effect {
            checks: vec![
                Precondition::ByteNot { key: key.clone().into(), offset: 0, byte: REVOKED_FLAG },
                Precondition::Absent { key: keys::tag_revocation(serial).into() },
            ],
            writes: vec![
                RedisWrite::SetRange { key: key.into(), offset: 0, bytes: vec![REVOKED_FLAG] },
                RedisWrite::Set { key: keys::tag_revocation(serial).into(), value: revocation.encode() },
            ],
        };
        let event = caller.event(AuditAction::TagRevoked, format!("tag/{id}"), details);
        let revoked = TagState { revoked: true, ..state };
        let done = answer(self.view(minted.clone(), revoked, Some(revocation)));
        match self.store.write_once(caller, event, effect, &done).await? {
            Written::Yes => Ok(done),
            Written::Overtaken { .. } => {
                let (state, revocation) = self.store.read(self.store.catalog().tag(serial)).await?;
                Ok(answer(self.view(minted, state, revocation)))
            }
        }
    }

    async fn minted(&self, caller: &Caller, id: TagId) -> Result<Minted, FactoryError> {
        let Some(opened) = self.tag_keys.open(&id) else {
            self.store.can_tell_forged()?;
            return Err(FactoryError::NoSuchTag);
        };
        let never_minted = || {
            self.store.alarm_of_key_leak(caller);
            FactoryError::NoSuchTag
        };
        let key = match self.store.key_trust(opened.epoch).await?.trusted() {
            Ok(key) => key,
            Err(UntrustedKey::NeverInUse) => return Err(never_minted()),
            Err(UntrustedKey::Destroyed) => return Err(FactoryError::NoSuchTag),
        };
        let found = self.store.read(self.store.catalog().batch_of_tag(&opened)).await?;
        let batch = found.ok_or_else(never_minted)?.value;
        if !caller.owns(&batch.tenant) {
            return Err(FactoryError::NoSuchTag);
        }
        Ok(Minted { id, opened, key, batch })
    }

    fn view(&self, minted: Minted, state: TagState, revocation: Option<TagRevocation>) -> TagView {
        let Minted { id, opened, key, batch } = minted;
        TagView {
            id,
            url: self.urls.of(&id.crockford()),
            opened,
            lifecycle: batch.lifecycle_under(key.invalidates(&batch), state.revoked, self.store.now()),
            batch,
            scan_count: state.scan_count,
            scanned_at: state
                .scanned_at
                .map(|(first, last)| (from_unix_millis(first), from_unix_millis(last))),
            revoked: revocation.map(|revocation| revocation.withdrawal),
        }
    }
}
