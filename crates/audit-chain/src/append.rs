//! Appending events.
//!
//! One task per process chains the events that wait and writes them with one script call. A caller is
//! answered after the script has replied.
//!
//! - [`appender`]: the handle that callers use; [`config`] and [`appended`] are its input and its answer.
//! - [`worker`]: the task. Its module documentation states how each failure of a call ends.
//! - [`queue`]: the events that wait for an answer.
//! - [`entry`]: an event prepared for the script; [`script`] and [`script_reply`] are the typed call of
//!   `lua/append.lua`.
//! - [`metrics`]: how appends ended and how long they took.

pub(crate) mod appended;
pub(crate) mod appender;
pub(crate) mod config;
pub(crate) mod entry;
pub(crate) mod metrics;
mod queue;
pub(crate) mod script;
pub(crate) mod script_reply;
mod worker;
