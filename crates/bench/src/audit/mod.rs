//! `bench audit` and `bench verify`: the audit chain in one process with a private Redis.

mod appending;
mod verifying;

use std::num::{NonZeroU64, NonZeroUsize};

use redis_pool::RedisUrl;
use serde_json::Value;
use tempfile::TempDir;
use test_support::RedisServer;

pub(crate) use appending::{Chain, Until};

use crate::error::BenchError;
use crate::process::Running;

/// When Redis writes to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fsync {
    /// `appendfsync no`: the operating system decides.
    No,
    /// `appendfsync always`: before it replies.
    Always,
}

impl Fsync {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
        }
    }
}

/// Arguments of `bench audit`.
#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    /// Writers, each with one event in flight.
    #[arg(long, default_value = "50")]
    writers: NonZeroUsize,
    /// Events in all.
    #[arg(long, default_value = "100000")]
    events: NonZeroU64,
    /// `appendfsync` of the Redis.
    #[arg(long, value_enum, default_value = "no")]
    fsync: Fsync,
}

/// Arguments of `bench verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchVerifyArgs {
    /// Entries of the chain to create and verify.
    #[arg(long, default_value = "1000000")]
    entries: NonZeroU64,
    /// Verify the existing chain, and print one JSON object.
    #[arg(long, value_name = "URL", conflicts_with = "entries")]
    redis: Option<RedisUrl>,
}

/// Appends, verifies and prints.
///
/// # Errors
/// Fails if Redis cannot be used, if an event was lost, or if the chain is not valid.
pub(crate) async fn run(args: AuditArgs) -> Result<(), BenchError> {
    let redis = durable_redis(args.fsync).await;
    let chain = Chain::open(&url_of(&redis)?);
    let run = chain.append(args.writers.get(), Until::Events(args.events.get())).await?;
    println!("writers        {}", args.writers);
    println!("appendfsync    {}", args.fsync.name());
    println!("acknowledged   {}", run.acknowledged);
    println!("refused        {}", run.refused);
    println!("lost           {}", run.lost);
    println!("events/s       {:.0}", run.per_second());
    println!("verified       yes");
    if run.lost > 0 {
        return Err(BenchError::Unexpected(format!("{} acknowledged events are not in the chain", run.lost)));
    }
    Ok(())
}

/// Verifies the chain at `--redis`, or a new one.
///
/// # Errors
/// Fails if Redis cannot be used, or if the chain is not valid.
pub(crate) async fn verify(args: BenchVerifyArgs) -> Result<(), BenchError> {
    if let Some(url) = &args.redis {
        println!("{}", verifying::verify(url).await?);
        return Ok(());
    }
    let redis = durable_redis(Fsync::No).await;
    fill(&redis, args.entries.get()).await?;
    let dir = tempfile::tempdir().map_err(BenchError::io("cannot make a directory"))?;
    let seen = verify_apart(&redis, &dir).await?;
    println!("entries            {}", seen.entries);
    println!("entries/s          {:.0}", seen.per_second);
    println!("hashing alone /s   {:.0}", seen.hashing_per_second);
    match seen.grown_bytes {
        Some(grown) => println!("RSS over a tenth   {:+.1} MB", grown / 1e6),
        None => println!("RSS over a tenth   unknown here"),
    }
    Ok(())
}

/// The figures of a separate process that verified a chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VerifyFigures {
    /// Entries of the chain.
    pub(crate) entries: u64,
    /// Entries verified per second.
    pub(crate) per_second: f64,
    /// The baseline: entries that one thread hashes per second, without reading or checking them.
    pub(crate) hashing_per_second: f64,
    /// The growth of the process's maximum memory between a tenth of the chain and all of it.
    pub(crate) grown_bytes: Option<f64>,
}

/// Verifies in a separate process, so that its memory is that of verification.
///
/// # Errors
/// Fails if the process fails, e.g. because the chain is not valid.
pub(crate) async fn verify_apart(redis: &RedisServer, dir: &TempDir) -> Result<VerifyFigures, BenchError> {
    let program = std::env::current_exe().map_err(BenchError::io("cannot find this program"))?;
    let url = redis.url();
    let child = Running::start("verify", &program, &["verify", "--redis", &url], &[], dir.path())?;
    let printed = child.output().await?;
    let seen: Value =
        serde_json::from_str(&printed).map_err(BenchError::unexpected("what `bench verify` printed"))?;
    let number = |name: &str| {
        seen[name].as_f64().ok_or_else(|| BenchError::Unexpected(format!("`bench verify` printed no {name}")))
    };
    Ok(VerifyFigures {
        entries: seen["entries"].as_u64().unwrap_or_default(),
        per_second: number("per_second")?,
        hashing_per_second: number("hashing_per_second")?,
        grown_bytes: seen["grown_bytes"].as_f64(),
    })
}

/// Appends that many events as fast as possible.
///
/// # Errors
/// Fails as [`Chain::append`] does.
pub(crate) async fn fill(redis: &RedisServer, entries: u64) -> Result<(), BenchError> {
    Chain::open(&url_of(redis)?).append(1_000, Until::Events(entries)).await.map(drop)
}

/// Starts a Redis with an append-only file that it never rewrites during the measurement.
pub(crate) async fn durable_redis(fsync: Fsync) -> RedisServer {
    let args = ["--appendonly", "yes", "--appendfsync", fsync.name(), "--auto-aof-rewrite-percentage", "0"];
    RedisServer::start_with(&args).await
}

pub(crate) fn url_of(redis: &RedisServer) -> Result<RedisUrl, BenchError> {
    redis.url().parse().map_err(BenchError::unexpected("the address of our own Redis"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn appends_lose_nothing_and_the_chain_verifies_by_itself() {
        let redis = durable_redis(Fsync::Always).await;
        let chain = Chain::open(&url_of(&redis).unwrap());
        for writers in [1, 50] {
            let run = chain.append(writers, Until::Events(503)).await.unwrap();
            assert_eq!((run.acknowledged, run.refused, run.lost), (503, 0, 0));
            assert!(run.per_second() > 0.0);
        }
        let seen: Value = verifying::verify(&url_of(&redis).unwrap()).await.unwrap();
        assert_eq!(seen["entries"], 1_006);
        assert!(seen["per_second"].as_f64().unwrap() > 0.0, "{seen}");
    }

    #[tokio::test]
    async fn a_chain_that_lost_its_last_entry_yields_no_figure() {
        let redis = durable_redis(Fsync::No).await;
        let chain = Chain::open(&url_of(&redis).unwrap());
        chain.append(2, Until::Events(10)).await.unwrap();
        let mut link = redis.connection().await;
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut link).await.unwrap();
        let mut cut = 0;
        for key in keys {
            let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut link).await.unwrap();
            if kind == "list" {
                let _: redis::Value = redis::cmd("RPOP").arg(&key).query_async(&mut link).await.unwrap();
                cut += 1;
            }
        }
        assert_eq!(cut, 1);
        assert!(verifying::verify(&url_of(&redis).unwrap()).await.is_err());
    }

    #[tokio::test]
    async fn the_bare_baseline_writes_as_many_entries_as_it_says() {
        let redis = durable_redis(Fsync::No).await;
        let chain = Chain::open(&url_of(&redis).unwrap());
        let bare = chain.push_bare(50, std::time::Duration::from_millis(20)).await.unwrap();
        assert!(bare > 0.0);
        let mut link = redis.connection().await;
        let left: u64 = redis::cmd("DBSIZE").query_async(&mut link).await.unwrap();
        assert_eq!(left, 0, "it cleans up after itself");
    }
}
