//! A report by whoever scanned a tag: an audit event in the name of the tag's owner.

use std::sync::Arc;
use std::time::Duration;

use audit_chain::{AppendError, Check, Details, Effect, NewEvent, Write};
use catalog::keys;
use http_edge::ApiError;
use redis_pool::Error;
use serde::Deserialize;
use service_kit::durable::{AppendFailure, Durable};
use service_kit::{KeyStanding, Unbelieved};
use tag_id::{Keyring, TagId};
use utoipa::ToSchema;

use crate::domain::admission::{Admission, KeyRefusal, NotAdmitted};
use crate::domain::limits::Quotas;
use crate::domain::minted::minted_in;
use crate::domain::scan::Caller;

/// The most characters of [`Report::details`].
pub(crate) const MAX_DETAILS: usize = 1_000;

/// How many reports of one tag are taken in a day, UTC: whoever owns it knows by then, and its audit trail cannot be flooded.
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
    /// The tag is on another product than it says.
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

/// A report.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) tag: TagId,
    pub(crate) reason: Reason,
    pub(crate) details: Option<String>,
}

/// Why a report was not taken.
#[derive(Debug)]
pub(crate) enum ReportRefusal {
    Forged,
    NotMinted,
    Denied {
        retry_after: Duration,
    },
    /// The tag was reported as often as is taken in a day.
    UsedUp {
        retry_after: Duration,
    },
    Key(KeyRefusal),
    /// What is stored of the partner's tenant cannot be read.
    RecordLost,
    Redis(Error),
    Store(ApiError),
}

impl From<NotAdmitted> for ReportRefusal {
    fn from(why: NotAdmitted) -> Self {
        match why {
            NotAdmitted::Denied { retry_after } => Self::Denied { retry_after },
            NotAdmitted::NotOpen(error) => Self::Store(error),
            NotAdmitted::StateLost => Self::Store(service_kit::errors::state_lost()),
            NotAdmitted::RecordLost => Self::RecordLost,
            NotAdmitted::Redis(error) => Self::Redis(error),
        }
    }
}

/// Takes reports.
pub(crate) struct Reporter {
    keyring: Arc<Keyring>,
    durable: Arc<Durable>,
    admission: Arc<Admission>,
}

impl Reporter {
    pub(crate) fn new(keyring: Arc<Keyring>, durable: Arc<Durable>, admission: Arc<Admission>) -> Self {
        Self { keyring, durable, admission }
    }

    /// Takes one report. Neither the reporter's address nor its key is kept.
    pub(crate) async fn take(
        &self,
        report: Report,
        caller: Caller<'_>,
        request_id: &str,
        quotas: &mut Quotas,
    ) -> Result<(), ReportRefusal> {
        let Some(opened) = self.keyring.open(&report.tag) else {
            self.durable.can_tell_forged().map_err(ReportRefusal::Store)?;
            return Err(ReportRefusal::Forged);
        };
        match KeyStanding::of(&self.durable, opened.epoch).await.map_err(ReportRefusal::Store)? {
            Ok(_) => {}
            Err(Unbelieved::NeverInUse) => return Err(ReportRefusal::NotMinted),
            Err(Unbelieved::Destroyed) => return Err(ReportRefusal::Forged),
        }
        let slot = self.durable.pool().slot().await.map_err(ReportRefusal::Redis)?;
        let key = self.admission.admit(&slot, caller.address, caller.credential, quotas).await?;
        drop(slot);
        let batch = minted_in(&self.durable, &opened).await.map_err(ReportRefusal::Store)?;
        let batch = batch.ok_or(ReportRefusal::NotMinted)?;
        // Whoever shows a wrong key is told so, unless the id gives away that a tag secret is in wrong hands.
        key.map_err(ReportRefusal::Key)?;
        let mut details = Details::default().with("reason", report.reason.as_str());
        if let Some(text) = report.details {
            details.insert("details", text);
        }
        let event = NewEvent {
            tenant: batch.value.tenant.clone(),
            actor: "scan/public".to_owned(),
            action: "report.received".to_owned(),
            resource: format!("tag/{}", report.tag),
            request_id: request_id.to_owned(),
            ip: None,
            details,
        };
        let now = self.durable.clock().unix_millis();
        match self.durable.append(event, counted(opened.serial(), now)).await {
            Ok(_) => Ok(()),
            Err(AppendFailure::Append(AppendError::Precondition { .. })) => {
                let until_tomorrow = Duration::from_millis(MS_PER_DAY - now % MS_PER_DAY);
                Err(ReportRefusal::UsedUp { retry_after: until_tomorrow })
            }
            Err(failure) => Err(ReportRefusal::Store(failure.into())),
        }
    }
}

/// Counts one report of a tag on the day of `now` (Unix ms), unless there are enough.
fn counted(serial: [u8; 6], now: u64) -> Effect {
    let key: Vec<u8> = keys::tag_reports(serial, now / MS_PER_DAY).into();
    let member = ambient::uuid_v7(now).into_bytes().to_vec();
    Effect::none()
        .check(Check::FewerThan { key: key.clone(), members: REPORTS_PER_DAY })
        .write(Write::SortedAdd { key: key.clone(), score: 0, member })
        .write(Write::Expire { key, ttl: keys::TAG_REPORTS_KEPT })
}
