//! Durable storage's checks as the readiness probe shows them.

use http_edge::Check;
use storage::{PartHealth, StorageCheck};

/// A check of durable storage as a check of the readiness probe. An instance is unready while it fails.
#[must_use]
pub fn readiness_check(check: StorageCheck) -> Check {
    match check.health {
        PartHealth::Ok => Check::ok(check.name),
        PartHealth::Warning(detail) => Check::warning(check.name, detail),
        PartHealth::Failed(detail) => Check::failed(check.name, detail),
    }
}
