//! The log: one line per event on stdout, as JSON or as text.
//!
//! The access log is off by default. Its events have the target `access` and the level `debug`, so
//! `RUST_LOG=info,access=debug` turns it on.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::{Env, EnvError, Kind, choice};

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line: `timestamp`, `level`, `target`, `message` and the fields of the event.
    Json,
    /// Text for people.
    Text,
}

/// The format and the filter of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `LOG_FORMAT`: `json` or `text`. The default is `text` on a terminal, else `json`.
    pub format: LogFormat,
    /// `RUST_LOG`: the filter, in the syntax of `tracing_subscriber::EnvFilter`. The default is `info`.
    pub filter: String,
    /// Whether text has colours, which it has on a terminal.
    pub colour: bool,
}

/// The reason why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be parsed.
    #[error("the log filter cannot be parsed")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has already set up a log.
    #[error("the process already has a log")]
    AlreadySet(#[from] tracing::subscriber::SetGlobalDefaultError),
}

impl LogSettings {
    /// Reads `LOG_FORMAT` and `RUST_LOG`.
    ///
    /// # Errors
    /// Fails if one of them cannot be parsed.
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

    /// Sets up the log of the process, on stdout. Call it once, early in `main`.
    ///
    /// # Errors
    /// Fails if the filter cannot be parsed, or if the process already has a log.
    pub fn set_up(&self) -> Result<(), LogError> {
        Ok(tracing::subscriber::set_global_default(self.subscriber(std::io::stdout)?)?)
    }

    /// Builds the log of [`Self::set_up`] with another `writer`.
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
        let settings = LogSettings { colour: false, ..LogSettings::from_env(&env).unwrap() };
        let lines = CapturedLog::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(settings.subscriber(move || writer.clone()).unwrap(), log);
        lines.text()
    }

    #[test]
    fn a_json_line_has_the_fields_and_the_message() {
        let text = logged(&[("LOG_FORMAT", "json")], || tracing::info!(wait_ms = 7, "a\nline"));
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&line["message"], &line["wait_ms"], &line["level"]),
            (&"a\nline".into(), &7.into(), &"INFO".into())
        );
    }

    #[test]
    fn the_access_log_is_off_by_default() {
        let access = || tracing::debug!(target: "access", status = 200, "request completed");
        assert_eq!(logged(&[], access), "");
        assert_eq!(logged(&[("RUST_LOG", "info")], access), "");
        assert!(
            logged(&[("RUST_LOG", "info,access=debug"), ("LOG_FORMAT", "text")], access)
                .contains("status=200")
        );
    }

    #[test]
    fn the_error_names_a_setting_that_cannot_be_parsed() {
        for (name, value) in [("LOG_FORMAT", "xml"), ("RUST_LOG", "info,=,[")] {
            let env: Env = [(name, value)].into_iter().collect();
            let error = LogSettings::from_env(&env).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name} is \"{value}\"")), "{error}");
        }
    }
}
