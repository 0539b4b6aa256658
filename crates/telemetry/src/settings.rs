//! Where spans are sent, and which.

use std::fmt;
use std::time::Duration;

/// Where spans are sent, and which. `Debug` shows no header, because it may hold a secret.
#[derive(Clone, PartialEq)]
pub struct TraceSettings {
    /// The whole URL of the receiver, e.g. `http://127.0.0.1:4318/v1/traces`.
    pub endpoint: String,
    /// The headers of each export.
    pub headers: Vec<(String, String)>,
    /// The authorities that a receiver's certificate may come from, as DER. Without any, the public ones.
    pub authorities: Vec<Vec<u8>>,
    /// The time limit of an export.
    pub timeout: Duration,
    /// The attributes of this process, among them `service.name`.
    pub resource: Vec<(String, String)>,
    /// Which traces that begin here are exported.
    pub sampling: Sampling,
    /// Whether the decision of a caller whose trace is continued replaces [`Self::sampling`].
    pub follows_parent: bool,
}

/// Which traces are exported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// All.
    All,
    /// None.
    None,
    /// This part of them, from 0 to 1.
    Ratio(f64),
}

impl fmt::Debug for TraceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceSettings")
            .field("endpoint", &self.endpoint)
            .field("resource", &self.resource)
            .field("sampling", &self.sampling)
            .finish_non_exhaustive()
    }
}
