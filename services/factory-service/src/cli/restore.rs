//! `restore …`: what an operator runs after a backup was restored. It needs no service, and no state that a
//! service accepts.

use std::process::ExitCode;
use std::sync::Arc;

use ambient::{Clock, SystemClock};
use clap::Subcommand;
use keyring::Secrets;
use redis_pool::{PoolMetrics, RedisPool};
use serde_json::json;
use tag_id::Epoch;

use crate::cli::call::{Failure, show};
use crate::domain::input::Reason;
use crate::domain::restore::{Restore, RestoreRequest};
use crate::settings::FactorySettings;

/// `restore …`.
#[derive(Debug, Subcommand)]
pub enum RestoreCommand {
    /// Accepts the state in Redis after a backup was restored, and activates a new tag epoch.
    Accept {
        /// The reason. The audit trail keeps it.
        #[arg(long)]
        reason: String,
        /// The new tag epoch. The default is the first one that, as far as is known, was never used.
        #[arg(long, value_parser = epoch)]
        epoch: Option<Epoch>,
        /// Accepts also if STATE_DIR shows that nothing was lost.
        #[arg(long)]
        force: bool,
    },
}

fn epoch(text: &str) -> Result<Epoch, String> {
    let number = text.parse().ok().and_then(Epoch::new);
    number.ok_or_else(|| "it takes the number of a tag epoch, 1 to 4095, e.g. 7".to_owned())
}

impl RestoreCommand {
    /// Runs the command.
    pub(crate) fn run(self, settings: &FactorySettings) -> Result<ExitCode, Failure> {
        let Self::Accept { reason, epoch, force } = self;
        let reason = Reason::parse("reason", reason).map_err(|error| Failure::Rejected(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|source| Failure::Io { what: "no runtime".to_owned(), source })?;
        runtime.block_on(async {
            let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
            let config = settings.redis.pool("durable", &settings.redis.url);
            let restore = Restore {
                pool: RedisPool::new(config, Arc::clone(&clock), &PoolMetrics::default()),
                secrets: Secrets {
                    tags: Arc::clone(&settings.tags.tag_keys),
                    signing: Arc::clone(&settings.signing.keys),
                },
                audit_origin: settings.deployment.audit_origin.clone(),
                state_dir: settings.deployment.state_dir.clone(),
                clock,
            };
            let accepted =
                restore.accept(&RestoreRequest { reason: reason.into_string(), epoch, force }).await;
            let accepted = accepted.map_err(|error| Failure::Rejected(error.to_string()))?;
            show(&json!({
                "generation": accepted.generation,
                "epoch": accepted.epoch.get(),
                "old_size": accepted.old_size,
                "size": accepted.size,
                "seq": accepted.seq,
            }));
            Ok(ExitCode::SUCCESS)
        })
    }
}
