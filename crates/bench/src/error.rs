//! Why a measurement was not made. A bar that is missed is no failure; see `table`.

use std::io;

/// Ends the program with one line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// An argument or a file that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The operating system or the other side of a connection said no.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What it said.
        source: io::Error,
    },
    /// What was measured answered otherwise than it must, so the figure would mean nothing.
    #[error("{0}")]
    Unexpected(String),
    /// SIGINT or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    /// For `map_err`: `what` was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { what: what.into(), source }
    }

    /// For `map_err`: `what` went wrong, and the error says how.
    pub(crate) fn unexpected<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Unexpected(format!("{what}: {error}"))
    }
}
