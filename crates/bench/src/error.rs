//! Why a measurement failed. A missed bar is not a failure; see `table`.

use std::io;

/// An error, printed as one line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// An argument or a file cannot be used.
    #[error("{0}")]
    Usage(String),
    /// An operation of the operating system or on a connection failed.
    #[error("{what}: {source}")]
    Io {
        /// The operation.
        what: String,
        /// The error.
        source: io::Error,
    },
    /// The measured program did not respond as expected, so the figure would be wrong.
    #[error("{0}")]
    Unexpected(String),
    /// SIGINT or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    /// For `map_err`: names the operation.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { what: what.into(), source }
    }

    /// For `map_err`: names what failed, followed by the error.
    pub(crate) fn unexpected<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Unexpected(format!("{what}: {error}"))
    }
}
