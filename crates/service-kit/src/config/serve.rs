//! What `serve` does with the settings before it serves: the same in both services.

use clap::Args;
use http_edge::env::{Env, Misspelt};
use http_edge::telemetry::{self, LogConfig, TelemetryError};

/// `serve …`.
#[derive(Debug, Default, Args)]
pub struct Serve {
    /// Prints the effective settings, without secrets, and exits: 0 if they are good, else 1 with the error.
    #[arg(long)]
    check_config: bool,
}

impl Serve {
    /// Sets the log up and says that the service is to start; or prints the settings that were read, where no more was wanted.
    ///
    /// # Errors
    /// When the log cannot be set up.
    pub fn may_start(&self, env: &Env, log: &LogConfig) -> Result<bool, TelemetryError> {
        if self.check_config {
            print!("{}", env.effective());
            for misspelt in env.misspelt() {
                eprintln!("warning: {misspelt}");
            }
            return Ok(false);
        }
        telemetry::init(log)?;
        for Misspelt { name, meant } in env.misspelt() {
            // Nothing but the name is shown: it may be a secret's.
            tracing::warn!(setting = name, did_you_mean = meant, "a setting that does not exist is set");
        }
        Ok(true)
    }
}
