//! Durable storage as a service uses it, without HTTP: how it fails, and what a process remembers in `STATE_DIR`.

mod error;
mod state_dir;

pub use error::{AppendFailure, GateError, StorageError};
pub use state_dir::{EarlierGeneration, Known, StateDir, StateDirError};
