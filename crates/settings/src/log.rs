//! The log: one line per event on stdout, as JSON for machines or as text for a terminal.
//!
//! The access log is off by default: its events have the target `access` and the level `debug`, so
//! `RUST_LOG=info,access=debug` turns it on and `info` alone does not.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::{Env, EnvError, Kind, choice};

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line, the event's fields beside `timestamp`, `level`, `target` and `message`.
    Json,
    /// For people.
    Text,
}

/// How the process logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `LOG_FORMAT`: `json` or `text`; by default JSON unless stdout is a terminal.
    pub format: LogFormat,
    /// `RUST_LOG`: what is logged, in the syntax of `tracing_subscriber::EnvFilter`; default `info`.
    pub filter: String,
    /// Whether text is coloured: on a terminal.
    pub colour: bool,
}

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("the log filter cannot be read")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has set one up already.
    #[error("the process has a log already")]
    AlreadySet(#[from] tracing::subscriber::SetGlobalDefaultError),
}

impl LogSettings {
    /// Reads `LOG_FORMAT` and `RUST_LOG`.
    ///
    /// # Errors
    /// When one of them cannot be parsed.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let terminal = std::io::stdout().is_terminal();
        let default = if terminal { LogFormat::Text } else { LogFormat::Json };
        let formats = choice(&[("json", LogFormat::Json), ("text", LogFormat::Text)]);
        let filters = Kind::new("log directives, e.g. info,access=debug", |text| {
            EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
        })
        .shown_as(String::clone);
        Ok(Self {
            format: env.get("LOG_FORMAT", default, &formats)?,
            filter: env.get("RUST_LOG", "info".to_owned(), &filters)?,
            colour: terminal,
        })
    }

    /// Makes this the process's log, on stdout. Call it once, early in `main`.
    ///
    /// # Errors
    /// When the filter cannot be read, or a log is set up already.
    pub fn set_up(&self) -> Result<(), LogError> {
        Ok(tracing::subscriber::set_global_default(self.subscriber(std::io::stdout)?)?)
    }

    /// The log of [`Self::set_up`], written to `writer`.
    fn subscriber<W>(&self, writer: W) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let filter = EnvFilter::builder().parse(&self.filter)?;
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
        Ok(match self.format {
            LogFormat::Json => Box::new(
                lines.json().flatten_event(true).with_current_span(false).with_span_list(false).finish(),
            ),
            LogFormat::Text => Box::new(lines.with_ansi(self.colour).finish()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_support::CapturedLog;

    fn logged(pairs: &[(&str, &str)], log: impl FnOnce()) -> String {
        let env: Env = pairs.iter().copied().collect();
        let config = LogSettings { colour: false, ..LogSettings::from_env(&env).unwrap() };
        let lines = CapturedLog::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(config.subscriber(move || writer.clone()).unwrap(), log);
        lines.text()
    }

    #[test]
    fn a_json_line_has_the_fields_beside_the_message() {
        let text = logged(&[("LOG_FORMAT", "json")], || tracing::info!(wait_ms = 7, "a\nline"));
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["message"], &line["wait_ms"], &line["level"]),
            (&"a\nline".into(), &7.into(), &"INFO".into())
        );
    }

    #[test]
    fn the_access_log_is_off_until_asked_for() {
        let access = || tracing::debug!(target: "access", status = 200, "answered");
        assert_eq!(logged(&[], access), "");
        assert_eq!(logged(&[("RUST_LOG", "info")], access), "");
        assert!(
            logged(&[("RUST_LOG", "info,access=debug"), ("LOG_FORMAT", "text")], access)
                .contains("status=200")
        );
    }

    #[test]
    fn settings_that_cannot_be_read_are_named() {
        for (name, value) in [("LOG_FORMAT", "xml"), ("RUST_LOG", "info,=,[")] {
            let env: Env = [(name, value)].into_iter().collect();
            let error = LogSettings::from_env(&env).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name} is \"{value}\"")), "{error}");
        }
    }
}
