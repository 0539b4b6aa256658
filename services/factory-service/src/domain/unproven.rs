//! Reports of codes that are not minted tags. Consumers send them from the scan-service's page.

use audit_chain::{AuditAction, Details};
use catalog::{CatalogPage, UnprovenReport};
use uuid::Uuid;

use crate::domain::error::FactoryError;
use crate::domain::identity::Caller;
use crate::domain::store::Store;

/// Lists these reports. They belong to no tenant.
pub(crate) struct Unproven {
    store: Store,
}

impl Unproven {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Returns one page, the oldest reports first. Each page is an audit event.
    pub(crate) async fn list(
        &self,
        caller: &Caller,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<CatalogPage<UnprovenReport>, FactoryError> {
        let reading = self.store.catalog().unproven_reports(after, limit, self.store.now());
        let page = self.store.read(reading).await?;
        let event =
            caller.event(AuditAction::UnprovenReportListed, "unproven-report/*".to_owned(), Details::new());
        self.store.note(event).await?;
        Ok(page)
    }
}
