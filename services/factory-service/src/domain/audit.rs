//! Reading and verifying the audit chain.

use std::num::NonZeroUsize;
use std::ops::Range;

use audit_chain::{Head, Page, VerifyReport};
use tokio::sync::Semaphore;

use crate::domain::refusal::Refusal;
use crate::domain::store::Store;

const BUSY: &str = "another verification is under way in this process; try again when it has ended";

/// The chain, which all tenants share.
pub(crate) struct Audit {
    store: Store,
    verifying: Semaphore,
}

impl Audit {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, verifying: Semaphore::new(1) }
    }

    pub(crate) async fn head(&self) -> Result<Head, Refusal> {
        let log = self.store.log()?;
        self.store.read(log.head()).await
    }

    pub(crate) async fn events(&self, after_seq: Option<u64>, limit: NonZeroUsize) -> Result<Page, Refusal> {
        let log = self.store.log()?;
        self.store.read(log.entries(after_seq, limit)).await
    }

    /// Verifies a range, one at a time: it reads the whole of it, and hashes as fast as a core can.
    pub(crate) async fn verify(&self, range: Range<u64>) -> Result<VerifyReport, Refusal> {
        let log = self.store.log()?;
        let _alone = self.verifying.try_acquire().map_err(|_| Refusal::Conflict(BUSY))?;
        self.store.read(log.verify(range)).await
    }
}
