//! scan-service: answers the phone that scans a tag. Exposed to the open internet.
//!
//! [`settings`] reads the environment, [`startup`] assembles, `router` is the API's table of contents, `handlers` translate
//! between HTTP and `domain`, which does the work.

mod document;
mod domain;
mod handlers;
mod metrics;
mod origin;
mod router;
pub mod settings;
pub mod startup;
mod state;
