//! Log lines in memory, for tests that check what a log says.

use std::cell::RefCell;
use std::io::Write;
use std::sync::{Arc, Mutex, Once};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

thread_local! {
    /// Where this thread's log lines go; nowhere unless a test asked for them.
    static OF_THIS_THREAD: RefCell<Option<CapturedLog>> = const { RefCell::new(None) };
}

/// A writer for a `tracing` subscriber. Clones share the lines.
///
/// ```
/// use test_support::CapturedLog;
///
/// CapturedLog::install("info");
/// let log = CapturedLog::of_this_thread();
/// tracing::info!(answer = 42, "found it");
/// assert!(log.text().contains("\"answer\":42"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct CapturedLog(Arc<Mutex<Vec<u8>>>);

impl CapturedLog {
    /// Installs the subscriber of this test process: JSON lines of what `filter` lets through, each to the
    /// log of the thread that it comes from. Only the first call counts.
    ///
    /// Call it at the start of every test of a binary that uses [`Self::of_this_thread`], before anything is
    /// logged. `tracing` remembers for each place that logs whether anybody listens; a subscriber that one
    /// test installs while another test logs from that place for the first time may never hear of it.
    ///
    /// # Panics
    /// When another subscriber is installed, or `filter` cannot be read.
    pub fn install(filter: &str) {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| {
            let lines = tracing_subscriber::fmt().json().flatten_event(true).with_writer(ThreadLog);
            let lines = lines.with_env_filter(EnvFilter::try_new(filter).expect("a filter of log lines"));
            tracing::subscriber::set_global_default(lines.finish())
                .expect("no other subscriber is installed");
        });
    }

    /// What this thread logs from now on, if [`Self::install`] was called. A test's own runtime runs on its
    /// thread, so this is the log of that test alone.
    #[must_use]
    pub fn of_this_thread() -> Self {
        let log = Self::default();
        OF_THIS_THREAD.set(Some(log.clone()));
        log
    }

    /// Everything that was written so far.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("nobody panics while writing").clone()).expect("a log is text")
    }
}

impl Write for CapturedLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics while writing").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Gives each line to the log of the thread that writes it.
struct ThreadLog;

impl MakeWriter<'_> for ThreadLog {
    type Writer = CapturedLog;

    fn make_writer(&self) -> CapturedLog {
        OF_THIS_THREAD.with_borrow(Option::clone).unwrap_or_default()
    }
}
