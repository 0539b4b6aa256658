//! scan-service: answers the phone that scans a tag. Exposed to the open internet.
//!
//! [`config`] reads the environment, [`startup`] assembles, `router` is the API's table of contents, `handlers` translate
//! between HTTP and `domain`, which does the work.

pub mod config;
mod document;
mod domain;
mod handlers;
mod metrics;
mod origin;
mod router;
pub mod startup;
mod state;
