//! Reports of codes that are not ours: forged, never minted, or no tag ids at all.
//!
//! Anybody can send them, so they are hints and no evidence. They belong to no tenant and go into a list with a bound, never into the
//! audit chain: at most [`MOST_REPORTS`], the oldest dropped first, each for at most [`KEPT_FOR`].

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

/// The most reports that are kept, about 7 MB of the longest.
pub const MOST_REPORTS: usize = 1_000;
/// How long a report is kept.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The most characters of a code that are kept.
pub const MAX_CODE: usize = 64;

static ADD: LazyLock<Script> =
    LazyLock::new(|| Script::new("add_unproven_report", include_str!("lua/add_unproven_report.lua")));

/// A report of a code that is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnprovenReport {
    /// A version 7 UUID: the list is in its order.
    pub id: Uuid,
    /// When it came.
    #[serde(with = "rfc3339")]
    pub reported_at: OffsetDateTime,
    /// What stood where a tag id belongs, at most [`MAX_CODE`] characters.
    pub code: String,
    /// One of the reasons of a report.
    pub reason: String,
    /// The reporter's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// The request that brought it.
    pub request_id: String,
}

/// What of a code is shown and kept: its first [`MAX_CODE`] characters, the last of them `…` where there were more.
#[must_use]
pub fn shortened_code(code: &str) -> Cow<'_, str> {
    match code.char_indices().nth(MAX_CODE) {
        None => Cow::Borrowed(code),
        Some(_) => Cow::Owned(code.chars().take(MAX_CODE - 1).chain(['…']).collect()),
    }
}

/// Adds a report; `deployment` is the beginning of the deployment record that this process has seen. False when it is gone or another.
///
/// # Errors
/// When Redis does not answer.
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
    /// Up to `limit` of the reports of codes that are not ours after the one with id `after`, the oldest first, and none that came
    /// more than [`KEPT_FOR`] before `now`.
    ///
    /// # Errors
    /// See [`CatalogError`].
    pub async fn unproven_reports(
        &self,
        after: Option<Uuid>,
        limit: usize,
        now: OffsetDateTime,
    ) -> Result<CatalogPage<UnprovenReport>, CatalogError> {
        // A member goes on with `{` after its id, and `|` is the next character.
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

/// The first id that a report which is still kept can have.
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
    fn a_long_code_is_cut_at_a_character() {
        assert_eq!(shortened_code("abc"), "abc");
        let exact = "é".repeat(MAX_CODE);
        assert_eq!(shortened_code(&exact), exact);
        let long = shortened_code(&"é".repeat(MAX_CODE + 1)).into_owned();
        assert_eq!(long, format!("{}…", "é".repeat(MAX_CODE - 1)));
    }
}
