//! A page with the main curves of a service over the last 15 minutes, drawn as SVG on the server.
//!
//! The page is for operators without Grafana at hand. Its only source is the text of `/metrics`: a caller
//! records it every [`SAMPLE_EVERY`] in a [`History`], which keeps 15 minutes of it and needs at most about
//! 100 KB. The page has no script, and its style is [`STYLE`], so a Content-Security-Policy can allow exactly
//! that by its hash.
//!
//! The crate reads neither clock nor registry, and knows nothing of HTTP.
//!
//! ```
//! use std::time::Duration;
//! use status_page::{History, SAMPLE_EVERY, render};
//!
//! let mut history = History::new();
//! let metrics = |requests: u32| {
//!     format!("voketag_http_requests_total{{route=\"/v1/scan\",status=\"200\"}} {requests}\n")
//! };
//! history.record(Duration::ZERO, &metrics(0));
//! history.record(SAMPLE_EVERY, &metrics(50));
//! assert!(render(&history, SAMPLE_EVERY).contains("10.0/s"));
//! ```

mod chart;
mod history;
mod page;
mod sample;

pub use history::{History, SAMPLE_EVERY, SPAN};
pub use page::{STYLE, render};
