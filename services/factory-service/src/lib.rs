//! factory-service: the API for a brand's own systems. It mints tags in batches, revokes and recalls them,
//! and keeps the audit trail.
//!
//! [`settings`] reads the environment and [`startup`] assembles the service. `router` is the API's table of
//! contents. `handlers` translate between HTTP and `domain`, which does the work. Every change is written
//! together with its audit event, or not at all.

pub mod cli;
mod document;
mod domain;
mod guarded;
mod handlers;
mod router;
pub mod settings;
pub mod startup;
mod state;
