//! The arguments of the subcommand `serve`, which both services share.

use clap::Args;

use crate::{Env, LogError, LogGuard, LogSettings, Misspelt};

/// The arguments of the subcommand `serve`.
#[derive(Debug, Default, Args)]
pub struct Serve {
    /// Prints the effective settings, without secrets, and exits: with 0 if they are valid, else with 1 and
    /// the error.
    #[arg(long)]
    check_config: bool,
}

impl Serve {
    /// Sets up the log and returns its guard. With `--check-config`, prints the settings that were read
    /// instead, and returns `None`: the service must not start.
    ///
    /// # Errors
    /// Fails if the log cannot be set up.
    pub fn may_start(&self, env: &Env, log: &LogSettings) -> Result<Option<LogGuard>, LogError> {
        if self.check_config {
            print!("{}", env.effective());
            for misspelt in env.misspelt() {
                eprintln!("warning: {misspelt}");
            }
            return Ok(None);
        }
        let guard = log.set_up()?;
        for Misspelt { name, meant } in env.misspelt() {
            // Without the value, because the variable may hold a secret.
            tracing::warn!(setting = name, did_you_mean = meant, "unknown setting");
        }
        Ok(Some(guard))
    }
}
