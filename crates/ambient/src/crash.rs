//! Places at which a test may have the process killed, to see that what it leaves behind can be gone on from.
//!
//! In a release build nothing is left of them. In a debug build a process that was started with `VOKETAG_CRASH_AT=<place>`
//! kills itself there as `kill -9` would: no destructor runs, nothing is flushed, no connection is closed in order.

/// Dies here if the environment says so.
#[inline]
pub fn crash_point(place: &str) {
    if cfg!(debug_assertions) {
        die_at(place);
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test tells the process where to die, and no setting of a service may"
)]
fn die_at(place: &str) {
    use std::sync::OnceLock;
    static WANTED: OnceLock<Option<String>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| std::env::var("VOKETAG_CRASH_AT").ok());
    if wanted.as_deref() == Some(place) {
        std::process::abort();
    }
}
