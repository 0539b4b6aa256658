//! What a service keeps of its deployment.

mod state_dir;

pub use state_dir::{EarlierGeneration, Known, StateDir, StateDirError};
