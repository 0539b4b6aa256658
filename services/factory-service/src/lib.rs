//! factory-service: mints tags in batches, takes them back, and keeps the audit trail. For the brand's own systems.
//!
//! [`settings`] reads the environment, [`startup`] assembles, `router` is the API's table of contents, `handlers` translate
//! between HTTP and `domain`, which does the work. Every change is an effect that is written together with its audit
//! event, or not at all.

pub mod cli;
mod document;
mod domain;
mod guarded;
mod handlers;
mod router;
pub mod settings;
pub mod startup;
mod state;
