//! File access of `STATE_DIR`: bounded reads, atomic replacement, locks.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::error::{StateDirError, failed};
use super::known::Known;

/// How long a writer waits for the lock. Its holder writes one small file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause between two attempts to take the lock.
const LOCK_RETRY_PAUSE: Duration = Duration::from_millis(10);
/// Bytes that are read of a file at most; a file holds about 200.
const MAX_FILE_BYTES: u64 = 4 * 1024;

/// Takes the lock. It is held until the returned file is dropped.
pub(super) fn lock(path: &Path) -> Result<File, StateDirError> {
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let lock = opened.map_err(failed("cannot open the lock", path))?;
    let mut waited = Duration::ZERO;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if waited < LOCK_TIMEOUT => {
                std::thread::sleep(LOCK_RETRY_PAUSE);
                waited += LOCK_RETRY_PAUSE;
            }
            Err(TryLockError::WouldBlock) => {
                let source = io::Error::new(io::ErrorKind::TimedOut, "another process holds it");
                return Err(failed("cannot get the lock", path)(source));
            }
            Err(TryLockError::Error(source)) => return Err(failed("cannot get the lock", path)(source)),
        }
    }
}

/// Reads a deployment's file; `None` if it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<Known>, StateDirError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("cannot read a file", path)(error)),
    };
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, MAX_FILE_BYTES), &mut text)
        .map_err(failed("cannot read a file", path))?;
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).map_err(|error| StateDirError::Damaged { path: path.to_owned(), why: error.to_string() })
}

/// Replaces `file` by `bytes`. A reader, also after a crash, finds the old bytes or the new ones.
pub(super) fn replace(dir: &Path, file: &Path, bytes: &[u8]) -> Result<(), StateDirError> {
    let fresh = file.with_extension(format!("{}.tmp", std::process::id()));
    let written = File::create(&fresh).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()
    });
    written.map_err(failed("cannot write a file", &fresh))?;
    fs::rename(&fresh, file).map_err(failed("cannot replace a file", file))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("cannot sync the directory", dir))
}
