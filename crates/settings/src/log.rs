//! The log: one line per event on stdout, as JSON or as text. Sets up the export of traces as well, because
//! both read the same spans.
//!
//! A line that belongs to a request or a background job has its `trace_id` and `span_id` while traces are
//! exported.

mod format;

use std::io::IsTerminal;

use http_edge::AccessLog;
use telemetry::{TraceError, TraceExport, TraceSettings};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, Layered, SubscriberExt};
use tracing_subscriber::{EnvFilter, Registry};

use self::format::{IdStyle, WithIds};
use crate::{Env, EnvError, Kind, choice, traces};

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line: `timestamp`, `level`, `target`, `message` and the fields of the event.
    Json,
    /// Text for people.
    Text,
}

/// The format and the filter of the log, and where traces are exported.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    /// `LOG_FORMAT`: `json` or `text`. The default is `text` on a terminal, else `json`.
    pub format: LogFormat,
    /// `RUST_LOG`: the filter, in the syntax of `tracing_subscriber::EnvFilter`. The default is `info`.
    pub filter: String,
    /// `ACCESS_LOG`: the requests that are logged. The default is `off`.
    pub access: AccessLog,
    /// Whether text has colours, which it has on a terminal.
    pub colour: bool,
    /// `OTEL_*`: where traces are exported. The default is nowhere.
    pub traces: Option<TraceSettings>,
}

/// What the layers of the log are attached to.
type Spans = Layered<Option<Box<dyn Layer<Filtered> + Send + Sync>>, Filtered>;
type Filtered = Layered<EnvFilter, Registry>;

/// The reason why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be parsed.
    #[error("the log filter cannot be parsed")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The process has already set up a log.
    #[error("the process already has a log")]
    AlreadySet(#[from] tracing::subscriber::SetGlobalDefaultError),
    /// Traces cannot be exported.
    #[error(transparent)]
    Traces(#[from] TraceError),
}

/// The log of the process and its export of traces. Keep it until the process ends: dropping it exports the
/// last spans.
#[derive(Debug)]
#[must_use]
pub struct LogGuard {
    _traces: Option<TraceExport>,
}

impl LogSettings {
    /// Reads `LOG_FORMAT`, `RUST_LOG`, `ACCESS_LOG` and `OTEL_*`. `service` is the default of
    /// `OTEL_SERVICE_NAME`.
    ///
    /// # Errors
    /// Fails if one of them cannot be parsed.
    pub fn from_env(env: &Env, service: &str) -> Result<Self, EnvError> {
        let terminal = std::io::stdout().is_terminal();
        let default = if terminal { LogFormat::Text } else { LogFormat::Json };
        let formats = choice(&[("json", LogFormat::Json), ("text", LogFormat::Text)]);
        let filters = Kind::new("log directives, e.g. info,redis_pool=debug", |text| {
            EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
        })
        .shown_as(String::clone);
        let access =
            choice(&[("off", AccessLog::Off), ("errors", AccessLog::Errors), ("all", AccessLog::All)]);
        Ok(Self {
            format: env.get("LOG_FORMAT", default, &formats)?,
            filter: env.get("RUST_LOG", "info".to_owned(), &filters)?,
            access: env.get("ACCESS_LOG", AccessLog::Off, &access)?,
            colour: terminal,
            traces: traces::from_env(env, service)?,
        })
    }

    /// Sets up the log of the process on stdout, and starts the export of traces. Call it once, early in
    /// `main`.
    ///
    /// # Errors
    /// Fails if the filter cannot be parsed, if the process already has a log, or if the exporter cannot be
    /// made.
    pub fn set_up(&self) -> Result<LogGuard, LogError> {
        let traces = self.traces.as_ref().map(TraceExport::start).transpose()?;
        tracing::subscriber::set_global_default(self.subscriber(std::io::stdout, traces.as_ref())?)?;
        Ok(LogGuard { _traces: traces })
    }

    /// Builds the log of [`Self::set_up`] with another `writer`.
    fn subscriber<W>(
        &self,
        writer: W,
        traces: Option<&TraceExport>,
    ) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
    where
        W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let lines = tracing_subscriber::fmt::layer().with_writer(writer);
        let lines: Box<dyn Layer<Spans> + Send + Sync> = match self.format {
            LogFormat::Json => lines
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .map_event_format(|inner| WithIds { inner, style: IdStyle::Json })
                .boxed(),
            LogFormat::Text => lines
                .with_ansi(self.colour)
                .map_event_format(|inner| WithIds { inner, style: IdStyle::Text })
                .boxed(),
        };
        // A line has the ids of its span and not the fields, so spans need not be written down.
        let lines = match traces {
            Some(_) => lines.with_filter(filter_fn(|metadata: &Metadata<'_>| metadata.is_event())).boxed(),
            None => lines,
        };
        let exported = traces.map(|traces| traces.layer().boxed());
        Ok(Box::new(Registry::default().with(self.filter()?).with(exported).with(lines)))
    }

    fn filter(&self) -> Result<EnvFilter, LogError> {
        let mut filter = EnvFilter::builder().parse(&self.filter)?;
        if self.access != AccessLog::Off {
            filter = filter.add_directive("access=info".parse()?);
        }
        // RUST_LOG is about lines, but the filter applies to spans as well.
        Ok(filter.add_directive(format!("{}=info", spans::TARGET).parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_support::CapturedLog;

    fn logged(pairs: &[(&str, &str)], log: impl FnOnce()) -> String {
        let env: Env = pairs.iter().copied().collect();
        let settings = LogSettings { colour: false, ..LogSettings::from_env(&env, "test").unwrap() };
        let lines = CapturedLog::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(settings.subscriber(move || writer.clone(), None).unwrap(), log);
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
        for (name, value) in [("LOG_FORMAT", "xml"), ("RUST_LOG", "info,=,["), ("ACCESS_LOG", "on")] {
            let env: Env = [(name, value)].into_iter().collect();
            let error = LogSettings::from_env(&env, "test").unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name} is \"{value}\"")), "{error}");
        }
    }
}
