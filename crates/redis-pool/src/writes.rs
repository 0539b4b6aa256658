//! Whether Redis takes writes. A Redis that is full, demoted or cut off goes on reading, and a read that
//! succeeds says nothing about the next write, so refused writes are counted apart, until a write has
//! succeeded. Nobody can tell from outside whether a script wrote anything; a write of the pool's own, the
//! *probe*, can. This module knows nothing of how connections are made.

use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;
use redis::Cmd;
use tokio::sync::Notify;

/// Refused writes that open the breaker, as many as failures in a row (docs/contract.md §7).
const REFUSALS: u32 = 5;
/// Between two probes, before jitter: while all is well, and while writes are refused or the breaker is not
/// closed.
pub(crate) const PROBE_EVERY: (Duration, Duration) =
    (Duration::from_millis(1_500), Duration::from_millis(500));
/// Spread of both, in thousandths.
pub(crate) const PROBE_JITTER: u16 = 200;

const PROBE: &str = include_str!("lua/write_probe.lua");

/// What is known of the writes of one pool.
#[derive(Debug)]
pub(crate) struct Writes {
    pool: &'static str,
    keys: OnceLock<&'static [&'static str]>,
    state: Mutex<State>,
    /// Told of the first refused write: a probe is due.
    refused_one: Notify,
}

/// A write that shows whether Redis takes writes.
pub(crate) struct Probe {
    pub(crate) cmd: Cmd,
    /// Whether it tries every kind of write.
    pub(crate) is_whole: bool,
}

#[derive(Debug, Default)]
struct State {
    /// With what the last write was refused, if no write has succeeded since.
    code: Option<&'static str>,
    /// How many were refused since one succeeded.
    refusals: u32,
}

impl Writes {
    pub(crate) fn new(pool: &'static str) -> Self {
        Self { pool, keys: OnceLock::new(), state: Mutex::default(), refused_one: Notify::new() }
    }

    /// Probes with these keys from now on. Says whether that is news.
    pub(crate) fn watch(&self, keys: &'static [&'static str]) -> bool {
        self.keys.set(keys).is_ok()
    }

    /// The write to try, where there is one to try: a text alone while all is well, since each probe goes to
    /// the append-only file and to replicas; after a refused write every kind of write, since the user may be
    /// forbidden one of them.
    pub(crate) fn probe(&self) -> Option<Probe> {
        let keys = self.keys.get()?;
        let is_whole = self.refused_with().is_some();
        let keys = if is_whole { keys } else { &keys[..keys.len().min(1)] };
        let mut cmd = Cmd::new();
        cmd.arg("EVAL").arg(PROBE).arg(keys.len()).arg(keys);
        Some(Probe { cmd, is_whole })
    }

    /// With what writes are refused at present.
    pub(crate) fn refused_with(&self) -> Option<&'static str> {
        self.state.lock().code
    }

    /// Counts a refused write; says whether it is one too many. Where nothing probes, nothing could tell that
    /// writes succeed again, and nothing is counted.
    pub(crate) fn refused(&self, code: &'static str) -> bool {
        if self.keys.get().is_none() {
            return false;
        }
        let mut state = self.state.lock();
        if state.code != Some(code) {
            tracing::warn!(pool = self.pool, code, "redis refuses writes");
        }
        if state.code.replace(code).is_none() {
            self.refused_one.notify_one();
        }
        state.refusals = state.refusals.saturating_add(1);
        state.refusals >= REFUSALS
    }

    /// A probe has succeeded. One that was sent before the first refused write says nothing about that.
    pub(crate) fn succeeded(&self, is_whole: bool) {
        let mut state = self.state.lock();
        if !is_whole && state.code.is_some() {
            return;
        }
        if let Some(code) = std::mem::take(&mut *state).code {
            tracing::info!(pool = self.pool, code, "redis takes writes again");
        }
    }

    /// Forgets what is known, since it is of a server that was replaced, and gives the code with which that
    /// one refused writes.
    pub(crate) fn forget(&self) -> Option<&'static str> {
        std::mem::take(&mut *self.state.lock()).code
    }

    /// Waits for the first refused write.
    pub(crate) async fn first_refusal(&self) {
        self.refused_one.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Those of our scripts that only read.
    const READS: [&str; 19] = [
        "EXISTS",
        "GET",
        "GETRANGE",
        "HEXISTS",
        "HGET",
        "HGETALL",
        "HLEN",
        "HMGET",
        "LINDEX",
        "LLEN",
        "LRANGE",
        "MGET",
        "TIME",
        "TYPE",
        "ZCARD",
        "ZCOUNT",
        "ZRANGE",
        "ZRANGEBYSCORE",
        "ZREVRANGEBYSCORE",
    ];

    fn written_by(script: &str) -> BTreeSet<String> {
        let calls = script.split("call('").skip(1).filter_map(|rest| rest.split('\'').next());
        calls.filter(|command| !READS.contains(command)).map(str::to_owned).collect()
    }

    fn scripts_below(path: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") && !path.ends_with("target") {
                scripts_below(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "lua") {
                found.push(path);
            }
        }
    }

    #[test]
    fn the_probe_tries_every_command_with_which_a_script_of_ours_writes() {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut scripts = Vec::new();
        for below in ["crates", "services"] {
            scripts_below(&workspace.join(below), &mut scripts);
        }
        assert!(scripts.len() > 20, "{scripts:?}");
        // What it tries where the pool writes texts alone, as the limiters do.
        let of_texts = BTreeSet::from(["DEL", "SET"].map(str::to_owned));
        let all = written_by(PROBE);
        for script in scripts {
            let tried = if script.components().any(|part| part.as_os_str() == "rate-limiter") {
                &of_texts
            } else {
                &all
            };
            let missing: Vec<String> =
                written_by(&std::fs::read_to_string(&script).unwrap()).difference(tried).cloned().collect();
            assert!(missing.is_empty(), "{}: write_probe.lua does not try {missing:?}", script.display());
        }
    }

    #[test]
    fn a_write_is_tried_often_enough_for_readiness_to_name_the_code_within_five_seconds() {
        let longest = PROBE_EVERY.0.mul_f64(1.0 + f64::from(PROBE_JITTER) / 1_000.0);
        assert!(
            longest < Duration::from_secs(2),
            "{longest:?} leave too little for a slow reply and a slow look"
        );
    }

    #[test]
    fn five_refused_writes_are_too_many_and_a_write_that_succeeds_begins_again() {
        let writes = Writes::new("test");
        assert!((0..9).all(|_| !writes.refused("OOM")), "nothing probes");
        assert_eq!(writes.refused_with(), None);
        assert!(writes.watch(&["k"]) && !writes.watch(&["other"]));
        assert!((0..4).all(|_| !writes.refused("OOM")));
        writes.succeeded(false);
        assert_eq!(writes.refused_with(), Some("OOM"), "that probe was on its way before");
        writes.succeeded(true);
        assert_eq!(writes.refused_with(), None);
        assert!((0..4).all(|_| !writes.refused("OOM")));
        assert!(writes.refused("READONLY") && writes.refused("READONLY"));
        assert_eq!(writes.refused_with(), Some("READONLY"));
        assert_eq!(writes.forget(), Some("READONLY"));
        assert!(!writes.refused("OOM"));
    }
}
