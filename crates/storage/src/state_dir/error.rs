//! Errors of `STATE_DIR`.

use std::io;
use std::path::{Path, PathBuf};

/// An error of reading or writing `STATE_DIR`.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// A file operation failed.
    #[error("{what} in STATE_DIR {}: {source}", path.display())]
    Io {
        /// The operation that failed.
        what: &'static str,
        /// The file or the directory.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// A file is damaged, or another program wrote it.
    #[error(
        "{} in STATE_DIR cannot be read: {why}; if it is damaged, move it away: its contents are then lost",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        why: String,
    },
    /// The deployment record holds a text that is not a deployment id.
    #[error("{0:?} is not a deployment id: it takes 1 to 64 hex digits, 0-9 a-f")]
    NotAnId(String),
}

/// Returns a conversion that adds the operation and the path to an I/O error.
pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateDirError {
    let path = path.to_owned();
    move |source| StateDirError::Io { what, path, source }
}
