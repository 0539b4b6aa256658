//! The Redis memory of a tag: none when it is minted, and a bounded number of bytes once it is scanned.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use ambient::entropy;
use test_support::RedisServer;

use super::figures::{Bar, Figure, Unit};
use super::fleet::{Fleet, FleetBatch};
use crate::error::BenchError;
use crate::load::{self, LoadPlan, Stop};

/// The numbers in the bar: scanned tags and minted tags.
const SCANNED: u32 = 100_000;
pub(super) const MINTED: u32 = 10_000_000;
/// The number of clients. It is small and each is known before, so that the limiter's state does not count.
const CALLERS: u32 = 16;
const WARM_UP_SCANS: u32 = 5_000;
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(32).expect("not zero");
/// Redis frees the old half of a growing table in steps. Its memory counts once it is stable for this time.
const STEADY_FOR: u32 = 10;
const REFRESH_EVERY: Duration = Duration::from_millis(50);
const MOST_LOOKS: u32 = 600;
const PASSING: u64 = 16 * 1024;

/// Mints the large batch and scans some of its tags. Returns the batch and the figures.
///
/// # Errors
/// Fails if the services reject a request, or if Redis does not report its memory.
pub(super) async fn measure(fleet: &Fleet) -> Result<(FleetBatch, Vec<Figure>), BenchError> {
    // Memory that exists once, such as scripts and the product, must not count for the tags.
    let other = fleet.mint(WARM_UP_SCANS).await?;
    scan(fleet, &other, (0..WARM_UP_SCANS).collect()).await?;
    let before = steady(&fleet.redis).await?;
    let batch = fleet.mint(MINTED).await?;
    let minted = steady(&fleet.redis).await?;
    let mut indexes = HashSet::new();
    while indexes.len() < SCANNED as usize {
        indexes.insert(u32::try_from(entropy::random_u64() % u64::from(MINTED)).unwrap_or_default());
    }
    scan(fleet, &batch, indexes).await?;
    let scanned = steady(&fleet.redis).await?;
    let per = |after: u64, before: u64, tags: u32| (after as f64 - before as f64) / f64::from(tags);
    // A batch of any size has one record and two audit events of some hundred bytes.
    let unscanned = (per(minted, before, MINTED) * 100.0).round() / 100.0;
    let figures = vec![
        Figure::new("Redis bytes per unscanned tag, 10 million", Unit::Bytes, vec![unscanned])
            .bar(Bar::AtMost(0.0)),
        Figure::new(
            "Redis bytes per scanned tag, 100,000 random of them",
            Unit::Bytes,
            vec![per(scanned, minted, SCANNED)],
        )
        .beside("a bare SET", Unit::Bytes, vec![bare().await?])
        .bar(Bar::AtMost(120.0)),
    ];
    Ok((batch, figures))
}

async fn scan(fleet: &Fleet, batch: &FleetBatch, indexes: HashSet<u32>) -> Result<(), BenchError> {
    let tags: Vec<String> = indexes.into_iter().map(|index| fleet.tag(batch, index)).collect();
    let number = tags.len() as u64;
    let url = format!("http://{}/v1/scan", fleet.scan.address);
    let plan = LoadPlan::new(&url, CONNECTIONS, Stop::Requests(number))?
        .with_headers(&[])?
        .with_addresses(CALLERS)?
        .with_segments(tags)?;
    let report = load::apply_load(plan).await?;
    if report.count(200) != number {
        return Err(BenchError::Unexpected(format!(
            "{number} scans were to be counted, and this came:\n{report}"
        )));
    }
    Ok(())
}

/// Returns the bytes that Redis takes for a key of eight bytes with a value of one byte.
async fn bare() -> Result<f64, BenchError> {
    const FILL: &str = "for i = 1, tonumber(ARGV[1]) do redis.call('SET', string.format('%08d', i), '1') end";
    let redis = RedisServer::start().await;
    let before = steady(&redis).await?;
    let mut fill = redis::cmd("EVAL");
    fill.arg(FILL).arg(0).arg(SCANNED);
    let filled: Result<redis::Value, _> = fill.query_async(&mut redis.connection().await).await;
    filled.map_err(BenchError::unexpected("filling a Redis"))?;
    Ok((steady(&redis).await? as f64 - before as f64) / f64::from(SCANNED))
}

/// Returns the bytes that Redis has allocated, once they are stable apart from temporary buffers.
async fn steady(redis: &RedisServer) -> Result<u64, BenchError> {
    let mut link = redis.connection().await;
    let (mut steady_at, mut steady_for) = (0_u64, 0);
    for _ in 0..MOST_LOOKS {
        let info: Result<String, _> = redis::cmd("INFO").arg("memory").query_async(&mut link).await;
        let info = info.map_err(BenchError::unexpected("asking Redis for its memory"))?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok());
        let used: u64 =
            used.ok_or_else(|| BenchError::Unexpected("Redis does not tell its memory".to_owned()))?;
        steady_for = if used.abs_diff(steady_at) <= PASSING { steady_for + 1 } else { 0 };
        if steady_for == 0 {
            steady_at = used;
        } else if steady_for == STEADY_FOR {
            return Ok(used);
        }
        tokio::time::sleep(REFRESH_EVERY).await;
    }
    Err(BenchError::Unexpected("the memory of Redis does not settle".to_owned()))
}
