//! A program of a measurement: it starts with a separate environment. Dropping it kills it and waits for its
//! end.
//!
//! If `setpriv` is installed, the kernel kills the program when the bench is killed. The kernel ties this to
//! the thread that starts the program, so start it on the main thread.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::error::BenchError;

const REFRESH_EVERY: Duration = Duration::from_millis(20);

/// A running program whose output goes to a file.
pub(crate) struct Running {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `program` with only `env` and the search path as its environment. Its output goes to `name`.log
    /// in `dir`.
    ///
    /// # Errors
    /// Fails if the program cannot be started.
    pub(crate) fn start(
        name: &'static str,
        program: &Path,
        args: &[&str],
        env: &[(&str, &str)],
        dir: &Path,
    ) -> Result<Self, BenchError> {
        let starting = || format!("cannot start {}", program.display());
        let log = dir.join(format!("{name}.log"));
        let output = File::create(&log).map_err(BenchError::io(starting()))?;
        let errors = output.try_clone().map_err(BenchError::io(starting()))?;
        let mut command = if has_setpriv() {
            let mut wrapped = Command::new("setpriv");
            wrapped.args(["--pdeathsig", "KILL"]).arg(program);
            wrapped
        } else {
            Command::new(program)
        };
        // `setpriv` needs the search path for a program without a path.
        command.args(args).env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
        command.envs(env.iter().copied()).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().map_err(BenchError::io(starting()))?;
        Ok(Self { name, child, log })
    }

    /// Returns the process id. `setpriv` replaces itself with the program.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails if the program has ended.
    pub(crate) fn still_runs(&mut self) -> Result<(), BenchError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended(status)),
            Err(error) => Err(BenchError::Io { what: format!("waiting for {}", self.name), source: error }),
        }
    }

    /// Waits for a successful end, and returns the output.
    pub(crate) async fn output(mut self) -> Result<String, BenchError> {
        loop {
            match self.child.try_wait().map_err(BenchError::io(format!("waiting for {}", self.name)))? {
                Some(status) if status.success() => {
                    return fs::read_to_string(&self.log)
                        .map_err(BenchError::io("reading what a program printed"));
                }
                Some(status) => return Err(self.ended(status)),
                None => tokio::time::sleep(REFRESH_EVERY).await,
            }
        }
    }

    fn ended(&self, status: ExitStatus) -> BenchError {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        let tail: String = tail.into_iter().rev().map(|line| format!("\n  {line}")).collect();
        BenchError::Unexpected(format!("{} ended by itself ({status}); the last it said:{tail}", self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn has_setpriv() -> bool {
    let mut probe = Command::new("setpriv");
    probe
        .args(["--pdeathsig", "KILL", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

/// Returns a value of `/proc/<pid>/status` in bytes, e.g. `VmRSS`, or `VmHWM` for its maximum. `None` if
/// there is no such file. Without an id, reads the value of this process.
pub(crate) fn memory_of(pid: Option<u32>, field: &str) -> Option<u64> {
    let who = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let status = fs::read_to_string(format!("/proc/{who}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_sees_only_its_own_environment() {
        let dir = tempfile::tempdir().unwrap();
        let env =
            Running::start("env", Path::new("/usr/bin/env"), &[], &[("REGION", "eu")], dir.path()).unwrap();
        let output = env.output().await.unwrap();
        let names: Vec<&str> = output.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert!(
            names.contains(&"REGION") && names.iter().all(|name| ["REGION", "PATH"].contains(name)),
            "{output}"
        );
    }

    #[tokio::test]
    async fn a_program_that_fails_is_reported_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let args = ["-c", "echo dying >&2; exit 3"];
        let sh = Running::start("sh", Path::new("/bin/sh"), &args, &[], dir.path()).unwrap();
        let error = sh.output().await.unwrap_err().to_string();
        assert!(error.contains("dying") && error.contains('3'), "{error}");
    }

    #[tokio::test]
    async fn nothing_outlives_its_handle() {
        let dir = tempfile::tempdir().unwrap();
        let mut sleep = Running::start("sleep", Path::new("/bin/sleep"), &["1000"], &[], dir.path()).unwrap();
        sleep.still_runs().unwrap();
        let pid = sleep.id();
        drop(sleep);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}
