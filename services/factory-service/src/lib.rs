//! factory-service: mints tags in batches, takes them back, and keeps the audit trail. For the brand's own systems.
//!
//! [`config`] reads the environment, [`startup`] assembles, `router` is the API's table of contents, `handlers` translate
//! between HTTP and `domain`, which does the work. Every change is an effect that is written together with its audit
//! event, or not at all.

pub mod cli;
pub mod config;
mod document;
mod domain;
mod guarded;
mod handlers;
mod router;
pub mod startup;
mod state;
