//! The durable Redis as the factory uses it: reads that are believed only while the deployment stands, and changes that are
//! written together with their event.

use std::sync::Arc;

use audit_chain::{AppendError, AuditLog, Effect, NewEvent};
use catalog::Catalog;
use service_kit::durable::{AppendFailure, Durable};
use tag_id::BatchNo;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::refusal::Refusal;

/// How often a change is tried anew when others change the same thing at the same time.
pub(crate) const TRIES: usize = 5;

/// How a change that could be written ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Written {
    /// It is in the chain, and done.
    Yes,
    /// What it expected was no longer so; nothing was written.
    Overtaken,
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    durable: Arc<Durable>,
}

impl Store {
    pub(crate) fn new(durable: Arc<Durable>) -> Self {
        Self { durable }
    }

    /// For building reads that are handed to [`Self::read`].
    pub(crate) fn catalog(&self) -> &Catalog {
        self.durable.catalog()
    }

    /// The audit chain.
    pub(crate) fn log(&self) -> Result<&AuditLog, Refusal> {
        self.durable.appender().map(|appender| appender.log()).map_err(Refusal::Store)
    }

    /// The time now, and an id that begins with it.
    pub(crate) fn stamp(&self) -> (OffsetDateTime, Uuid) {
        let millis = self.durable.clock().unix_millis();
        (service_kit::durable::from_unix_millis(millis), ambient::uuid_v7(millis))
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.durable.now()
    }

    /// What `reading` finds. The deployment is looked at afterwards: a wiped Redis must not pass for an empty one.
    pub(crate) async fn read<T, E: Into<Refusal>>(
        &self,
        reading: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Refusal> {
        self.durable.deployment().map_err(Refusal::Store)?;
        let found = reading.await.map_err(Into::into)?;
        self.durable.look().await?;
        Ok(found)
    }

    /// Appends `event` and carries out `effect`, both or neither.
    pub(crate) async fn write(&self, event: NewEvent, effect: Effect) -> Result<Written, Refusal> {
        match self.durable.append(event, effect).await {
            Ok(_) => Ok(Written::Yes),
            Err(AppendFailure::Append(AppendError::Precondition { .. })) => Ok(Written::Overtaken),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The number for a batch that is about to be made.
    pub(crate) async fn take_batch_no(&self) -> Result<BatchNo, Refusal> {
        self.durable.deployment().map_err(Refusal::Store)?;
        Ok(self.durable.gate().take_batch_no().await?)
    }
}
