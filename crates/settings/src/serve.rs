//! The arguments of `serve`, which are the same in both services.

use clap::Args;

use crate::{Env, LogError, LogSettings, Misspelt};

/// `serve …`.
#[derive(Debug, Default, Args)]
pub struct Serve {
    /// Prints the effective settings, without secrets, and exits: 0 if they are good, else 1 with the error.
    #[arg(long)]
    check_config: bool,
}

impl Serve {
    /// Sets up the log and returns true if the service is to start. With `--check-config` it prints the settings that
    /// were read and returns false.
    ///
    /// # Errors
    /// When the log cannot be set up.
    pub fn may_start(&self, env: &Env, log: &LogSettings) -> Result<bool, LogError> {
        if self.check_config {
            print!("{}", env.effective());
            for misspelt in env.misspelt() {
                eprintln!("warning: {misspelt}");
            }
            return Ok(false);
        }
        log.set_up()?;
        for Misspelt { name, meant } in env.misspelt() {
            // The value is not shown: the variable may hold a secret.
            tracing::warn!(setting = name, did_you_mean = meant, "a setting that does not exist is set");
        }
        Ok(true)
    }
}
