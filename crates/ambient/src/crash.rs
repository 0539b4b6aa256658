//! Crash points: places where a test can make the process die, to check that a restart recovers from what is
//! stored.
//!
//! A release build does not contain them. A debug build that was started with `VOKETAG_CRASH_AT=<place>`
//! aborts at that place: no destructor runs, no buffer is flushed, no connection is closed in order.

/// Aborts the process if `VOKETAG_CRASH_AT` names this `place`. Does nothing in a release build.
#[inline]
pub fn crash_point(place: &str) {
    if cfg!(debug_assertions) {
        die_at(place);
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "only tests set this variable; it is not a setting of a service"
)]
fn die_at(place: &str) {
    use std::sync::OnceLock;
    static WANTED: OnceLock<Option<String>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| std::env::var("VOKETAG_CRASH_AT").ok());
    if wanted.as_deref() == Some(place) {
        std::process::abort();
    }
}
