//! Reports of unproven codes: forged tag ids, ids that were never minted, and text that is not a tag id.
//!
//! Anyone can send such a report, so it is a hint and not evidence. It belongs to no tenant and is never
//! written to the audit chain. The list keeps at most [`MOST_REPORTS`] reports, each for at most
//! [`KEPT_FOR`], and drops the oldest first.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, Value};
use redis_pool::{PoolPermit, RedisPool, Script};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;
use uuid::Uuid;

use crate::keys;
use crate::records::CatalogRecordError;
use crate::store::{Catalog, CatalogError, CatalogPage};

/// Number of reports kept. The longest possible ones take about 7 MB together.
pub const MOST_REPORTS: usize = 1_000;
/// Time for which a report is kept.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Number of characters kept of a code.
pub const MAX_CODE: usize = 64;

static ADD: LazyLock<Script> =
    LazyLock::new(|| Script::new("add_unproven_report", include_str!("lua/add_unproven_report.lua")));

/// A report of an unproven code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnprovenReport {
    /// A version 7 UUID; the list is ordered by it.
    pub id: Uuid,
    /// When it was received.
    #[serde(with = "rfc3339")]
    pub reported_at: OffsetDateTime,
    /// The text in place of a tag id, at most [`MAX_CODE`] characters.
    pub code: String,
    /// The reason, one of those that a report may have.
    pub reason: String,
    /// Free text of the reporter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// The id of the request that sent it.
    pub request_id: String,
}

/// Returns `code`, or its first `MAX_CODE - 1` characters and `…` if it is longer than [`MAX_CODE`]
/// characters.
#[must_use]
pub fn shortened_code(code: &str) -> Cow<'_, str> {
    match code.char_indices().nth(MAX_CODE) {
        None => Cow::Borrowed(code),
        Some(_) => Cow::Owned(code.chars().take(MAX_CODE - 1).chain(['…']).collect()),
    }
}

/// Adds a report. `deployment` is the prefix of the deployment record that this process has seen.
///
/// Returns false, and adds nothing, if the stored record is missing or has another prefix.
///
/// # Errors
/// Fails if Redis does not answer in time or rejects the command.
pub async fn add_unproven_report(
    pool: &RedisPool,
    permit: &PoolPermit,
    deployment: &str,
    report: &UnprovenReport,
) -> Result<bool, redis_pool::PoolError> {
    let json = serde_json::to_string(report).expect("plain data is always serialisable into memory");
    let mut call = ADD.invoke();
    call.push_key(keys::DEPLOYMENT);
    call.push_key(keys::UNPROVEN_REPORTS);
    call.push_arg(deployment);
    call.push_arg(format!("{}{json}", report.id));
    call.push_arg(MOST_REPORTS);
    call.push_arg(KEPT_FOR.as_millis().to_string());
    let reply: i64 = call.run_with_permit(pool, permit, pool.command_timeout()).await?;
    Ok(reply == 1)
}

impl Catalog {
    /// Reads up to `limit` reports of unproven codes that follow the id `after`, the oldest first. Skips
    /// reports that are older than [`KEPT_FOR`] at `now`.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn unproven_reports(
        &self,
        after: Option<Uuid>,
        limit: usize,
        now: OffsetDateTime,
    ) -> Result<CatalogPage<UnprovenReport>, CatalogError> {
        // The id in a member is followed by `{`. `|` is the next character, so `(<id>|` is after the member.
        let oldest = oldest_id(now);
        let from = match after.filter(|id| *id > oldest) {
            Some(id) => format!("({id}|"),
            None => format!("[{oldest}"),
        };
        let mut range = Cmd::new();
        range.arg("ZRANGEBYLEX").arg(keys::UNPROVEN_REPORTS).arg(from).arg("+");
        range.arg("LIMIT").arg(0).arg(limit + 1);
        let found = read(self.pool().command(range).await?)?;
        let more = found.len() > limit;
        let items: Vec<UnprovenReport> =
            found.iter().take(limit).map(|member| decode(member)).collect::<Result<_, _>>()?;
        let next = items.last().map(|report| report.id).filter(|_| more);
        Ok(CatalogPage { items, next })
    }
}

/// Returns the smallest id of a report that is not older than [`KEPT_FOR`] at `now`.
fn oldest_id(now: OffsetDateTime) -> Uuid {
    let millis = (now - KEPT_FOR).unix_timestamp_nanos() / 1_000_000;
    Uuid::from_u128(u128::try_from(millis).unwrap_or_default() << 80)
}

fn read(reply: Value) -> Result<Vec<Vec<u8>>, CatalogError> {
    let parsed = redis::from_redis_value(reply);
    parsed.map_err(|error| redis_pool::PoolError::Reply { what: error.to_string() }.into())
}

fn decode(member: &[u8]) -> Result<UnprovenReport, CatalogRecordError> {
    let fail = |why: String| CatalogRecordError::new("unproven report", why);
    let json = member.get(Uuid::nil().hyphenated().to_string().len()..).unwrap_or_default();
    serde_json::from_slice(json).map_err(|error| fail(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_code_is_cut_between_characters() {
        assert_eq!(shortened_code("abc"), "abc");
        let exact = "é".repeat(MAX_CODE);
        assert_eq!(shortened_code(&exact), exact);
        let long = shortened_code(&"é".repeat(MAX_CODE + 1)).into_owned();
        assert_eq!(long, format!("{}…", "é".repeat(MAX_CODE - 1)));
    }
}
