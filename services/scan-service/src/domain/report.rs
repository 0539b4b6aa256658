//! Reports of people who scanned a code. A report of a minted tag becomes an audit event of the tag's owner.
//! A report of any other code, which only the page accepts, goes into a bounded list for the operator (see
//! [`catalog::unproven`]).

use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, from_unix_millis};
use audit_chain::{AppendError, AuditAction, Effect, NewEvent, Precondition, RedisWrite};
use catalog::{Batch, StoredRecord, UnprovenReport, add_unproven_report, keys, shortened_code};
use input::Lines;
use redis_pool::{PoolError, RedisPool};
use serde::Deserialize;
use storage::{
    AppendFailure, AuditWriter, DeploymentState, DurableStorage, GateError, LiveKeyring, StorageError,
    UntrustedKey,
};
use tag_id::{Opened, TagId, TagKeys};
use utoipa::ToSchema;

use crate::domain::admission::{Admission, KeyRejection, NotAdmitted};
use crate::domain::limits::Quotas;
use crate::domain::minted::{MintedBatches, MintedError};
use crate::domain::scan::Caller;

/// The optional text of a report.
pub(crate) type ReportDetails = Lines<1_000>;

/// The most reports of one tag per day (UTC), so that nobody can flood the audit trail of its owner.
const REPORTS_PER_DAY: u32 = 20;
const MS_PER_DAY: u64 = 86_400_000;

/// What is wrong with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// It looks like a copy.
    Counterfeit,
    /// The tag or its seal is damaged.
    Damaged,
    /// The tag is on another product than the scan shows.
    Mismatch,
    /// The item may be stolen.
    Stolen,
    /// Anything else.
    Other,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counterfeit => "counterfeit",
            Self::Damaged => "damaged",
            Self::Mismatch => "mismatch",
            Self::Stolen => "stolen",
            Self::Other => "other",
        }
    }
}

/// A report of a tag.
#[derive(Debug)]
pub(crate) struct TagReport {
    pub(crate) tag: TagId,
    pub(crate) reason: Reason,
    pub(crate) details: Option<ReportDetails>,
}

/// A report of any code that was scanned.
#[derive(Debug)]
pub(crate) struct CodeReport<'a> {
    pub(crate) code: &'a str,
    /// The code as a tag id, if it is one.
    pub(crate) tag: Option<TagId>,
    pub(crate) reason: Reason,
    pub(crate) details: Option<ReportDetails>,
}

/// Where an accepted report was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// In the audit trail of the tag's owner.
    ByBrand,
    /// In the list of reports of unproven codes.
    Unproven {
        /// Whether the id is authentic but was never minted.
        key_leak: bool,
    },
}

/// Why a report is rejected.
#[derive(Debug)]
pub(crate) enum ReportRejection {
    Forged,
    NotMinted,
    Denied {
        retry_after: Duration,
    },
    /// The tag has [`REPORTS_PER_DAY`] reports today.
    DailyLimit {
        retry_after: Duration,
    },
    Key(KeyRejection),
    /// A record of the tag or of the partner's tenant cannot be read.
    RecordLost,
    Redis(PoolError),
    Store(StorageError),
}

impl From<StorageError> for ReportRejection {
    fn from(error: StorageError) -> Self {
        Self::Store(error)
    }
}

impl From<GateError> for ReportRejection {
    fn from(error: GateError) -> Self {
        Self::Store(error.into())
    }
}

impl From<MintedError> for ReportRejection {
    fn from(error: MintedError) -> Self {
        match error {
            MintedError::RecordLost => Self::RecordLost,
            MintedError::Store(error) => Self::Store(error),
        }
    }
}

impl From<NotAdmitted> for ReportRejection {
    fn from(why: NotAdmitted) -> Self {
        match why {
            NotAdmitted::Denied { retry_after } => Self::Denied { retry_after },
            NotAdmitted::NotOpen(error) => error.into(),
            NotAdmitted::StateLost => GateError::StateLost.into(),
            NotAdmitted::RecordLost => Self::RecordLost,
            NotAdmitted::Redis(error) => Self::Redis(error),
        }
    }
}

/// Accepts reports.
pub(crate) struct Reporter {
    tag_keys: Arc<TagKeys>,
    pool: RedisPool,
    deployment: Arc<DeploymentState>,
    keyring: Arc<LiveKeyring>,
    audit: Arc<AuditWriter>,
    minted: MintedBatches,
    clock: Arc<dyn Clock>,
    admission: Arc<Admission>,
}

impl Reporter {
    pub(crate) fn new(
        tag_keys: Arc<TagKeys>,
        storage: &DurableStorage,
        clock: Arc<dyn Clock>,
        admission: Arc<Admission>,
    ) -> Self {
        Self {
            tag_keys,
            pool: storage.pool.clone(),
            deployment: Arc::clone(&storage.deployment),
            keyring: Arc::clone(&storage.keyring),
            audit: Arc::clone(&storage.audit),
            minted: MintedBatches::new(storage),
            clock,
            admission,
        }
    }

    /// Accepts a report of a tag. Stores neither the reporter's address nor its key.
    pub(crate) async fn take(
        &self,
        report: TagReport,
        caller: Caller<'_>,
        request_id: &str,
        quotas: &mut Quotas,
    ) -> Result<(), ReportRejection> {
        let opened = self.prove(&report.tag).await?;
        let batch = self.admitted(&opened, caller, quotas).await?.ok_or(ReportRejection::NotMinted)?;
        self.append(report, &opened, batch, request_id).await
    }

    /// Accepts a report of any code, and charges the same quota. Stores neither the reporter's address nor
    /// its key.
    pub(crate) async fn take_any(
        &self,
        report: CodeReport<'_>,
        caller: Caller<'_>,
        request_id: &str,
        quotas: &mut Quotas,
    ) -> Result<Taken, ReportRejection> {
        let proven = match &report.tag {
            Some(tag) => self.prove(tag).await.map(|opened| (*tag, opened)),
            None => {
                self.deployment.deployment()?;
                Err(ReportRejection::Forged)
            }
        };
        let key_leak = match proven {
            Ok((tag, opened)) => {
                if let Some(batch) = self.admitted(&opened, caller, quotas).await? {
                    let report = TagReport { tag, reason: report.reason, details: report.details };
                    self.append(report, &opened, batch, request_id).await?;
                    return Ok(Taken::ByBrand);
                }
                true
            }
            Err(rejection @ (ReportRejection::Forged | ReportRejection::NotMinted)) => {
                self.admission.still_denied(caller.address, caller.credential, quotas)?;
                let permit = self.pool.permit().await.map_err(ReportRejection::Redis)?;
                let check = self.admission.admit(&permit, caller.address, caller.credential, quotas).await?;
                if let Some(rejection) = check.rejection() {
                    return Err(ReportRejection::Key(rejection));
                }
                matches!(rejection, ReportRejection::NotMinted)
            }
            Err(rejection) => return Err(rejection),
        };
        self.list(report, request_id).await?;
        Ok(Taken::Unproven { key_leak })
    }

    /// Opens an authentic id of a trusted key.
    async fn prove(&self, tag: &TagId) -> Result<Opened, ReportRejection> {
        let Some(opened) = self.tag_keys.open(tag) else {
            self.deployment.can_tell_forged()?;
            return Err(ReportRejection::Forged);
        };
        match self.keyring.trust_of(opened.epoch).await?.trusted() {
            Ok(_) => Ok(opened),
            Err(UntrustedKey::NeverInUse) => Err(ReportRejection::NotMinted),
            Err(UntrustedKey::Destroyed) => Err(ReportRejection::Forged),
        }
    }

    /// Charges the caller's quota and looks up the batch. Returns `None` if the id was never minted.
    async fn admitted(
        &self,
        opened: &Opened,
        caller: Caller<'_>,
        quotas: &mut Quotas,
    ) -> Result<Option<StoredRecord<Batch>>, ReportRejection> {
        self.admission.still_denied(caller.address, caller.credential, quotas)?;
        let permit = self.pool.permit().await.map_err(ReportRejection::Redis)?;
        let check = self.admission.admit(&permit, caller.address, caller.credential, quotas).await?;
        drop(permit);
        let batch = self.minted.batch_of(opened).await?;
        match check.rejection() {
            // The alarm of an id that was never minted takes precedence over a wrong key.
            Some(rejection) if batch.is_some() => Err(ReportRejection::Key(rejection)),
            _ => Ok(batch),
        }
    }

    /// Adds a report to the list of reports of unproven codes.
    async fn list(&self, report: CodeReport<'_>, request_id: &str) -> Result<(), ReportRejection> {
        let deployment = self.deployment.deployment()?;
        let now = self.clock.unix_millis();
        let listed = UnprovenReport {
            id: ambient::uuid_v7(now),
            reported_at: from_unix_millis(now),
            code: shortened_code(report.code).into_owned(),
            reason: report.reason.as_str().to_owned(),
            details: report.details.map(ReportDetails::into_string),
            request_id: request_id.to_owned(),
        };
        let pool = &self.pool;
        let permit = pool.permit().await.map_err(ReportRejection::Redis)?;
        let added = add_unproven_report(pool, &permit, deployment.prefix(), &listed).await;
        if added.map_err(ReportRejection::Redis)? {
            return Ok(());
        }
        self.deployment.report_lost("a report found no deployment record, or that of another deployment");
        Err(GateError::StateLost.into())
    }

    /// Appends the event of a report to the audit trail of the batch's owner.
    async fn append(
        &self,
        report: TagReport,
        opened: &Opened,
        batch: StoredRecord<Batch>,
        request_id: &str,
    ) -> Result<(), ReportRejection> {
        let mut details = audit_chain::Details::default().with("reason", report.reason.as_str());
        if let Some(text) = report.details {
            details.insert("details", text.into_string());
        }
        let event = NewEvent {
            tenant: batch.value.tenant,
            actor: "scan/public".to_owned(),
            action: AuditAction::ReportReceived.into(),
            resource: format!("tag/{}", report.tag),
            request_id: request_id.to_owned(),
            ip: None,
            details,
        };
        let now = self.clock.unix_millis();
        match self.audit.append(event, counted(opened.serial(), now)).await {
            Ok(_) => Ok(()),
            Err(AppendFailure::Append(AppendError::Precondition { .. })) => {
                let until_tomorrow = Duration::from_millis(MS_PER_DAY - now % MS_PER_DAY);
                Err(ReportRejection::DailyLimit { retry_after: until_tomorrow })
            }
            Err(failure) => Err(StorageError::from(failure).into()),
        }
    }
}

/// Returns the effect that counts a report of a tag on the day of `now` (Unix milliseconds). It fails if the
/// tag has [`REPORTS_PER_DAY`] reports on that day.
fn counted(serial: [u8; 6], now: u64) -> Effect {
    let key: Vec<u8> = keys::tag_reports(serial, now / MS_PER_DAY).into();
    let member = ambient::uuid_v7(now).into_bytes().to_vec();
    Effect::none()
        .check(Precondition::FewerThan { key: key.clone(), members: REPORTS_PER_DAY })
        .write(RedisWrite::SortedAdd { key: key.clone(), score: 0, member })
        .write(RedisWrite::Expire { key, ttl: keys::TAG_REPORTS_KEPT })
}
