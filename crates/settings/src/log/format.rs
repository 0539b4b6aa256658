//! Log lines with the ids of the span that they belong to.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Adds `trace_id` and `span_id` to the lines of another format, if traces are exported.
pub(super) struct WithIds<F> {
    pub(super) inner: F,
    pub(super) style: IdStyle,
}

/// Where the ids are.
#[derive(Clone, Copy)]
pub(super) enum IdStyle {
    /// The last fields of a JSON object.
    Json,
    /// At the end of a line of text.
    Text,
}

impl<S, N, F> FormatEvent<S, N> for WithIds<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(ids) = spans::current_ids() else {
            return self.inner.format_event(context, writer, event);
        };
        let mut line = String::with_capacity(512);
        // Such a line has no colours: only the library can make a writer that asks for them.
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        let (trace, span) = (ids.trace, ids.span);
        match (self.style, line.strip_suffix("}\n"), line.strip_suffix('\n')) {
            (IdStyle::Json, Some(fields), _) => {
                writeln!(writer, "{fields},\"trace_id\":\"{trace}\",\"span_id\":\"{span}\"}}")
            }
            (IdStyle::Text, _, Some(text)) => writeln!(writer, "{text} trace_id={trace} span_id={span}"),
            _ => writer.write_str(&line),
        }
    }
}
