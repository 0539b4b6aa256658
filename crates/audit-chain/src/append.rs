//! Appending: the handle, the task behind it, and the script call that writes entries with their effects.

pub(crate) mod appender;
pub(crate) mod metrics;
pub(crate) mod script;
pub(crate) mod waiting;
mod worker;
