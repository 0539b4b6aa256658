//! `STATE_DIR`: what the processes of one host remember of a deployment outside Redis, so that a restored backup is noticed by a
//! process that starts after the restore.
//!
//! One file per deployment, `<deployment id>.json`. Processes and the command line share the directory: a file is read, merged and
//! replaced under a lock of its own, by an atomic rename, with `fsync` of the file and of the directory. All of it blocks; call it
//! off the runtime's threads.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audit_chain::{Hash, Head};
use serde::{Deserialize, Serialize};

/// How long another process may hold the lock; it writes one small file meanwhile.
const LOCKED_AT_MOST: Duration = Duration::from_secs(2);
/// Pause between two tries to get the lock.
const TRY_LOCK_EVERY: Duration = Duration::from_millis(10);
/// Longest file that is read: one holds about 200 bytes.
const LONGEST_FILE: u64 = 4 * 1024;

/// A directory that can be read and written: see the module.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: Arc<Path>,
}

/// What is known of one deployment: the highest audit head that was seen, in the latest restore generation that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The deployment's id.
    pub deployment: String,
    /// The restore generation of the deployment record: see `catalog::Deployment`.
    #[serde(default)]
    pub generation: u64,
    /// Entries of the audit chain.
    #[serde(default)]
    pub size: u64,
    /// The hash of the last of them; `None` while there is none.
    #[serde(default)]
    pub head: Option<Hash>,
    /// The highest number of a tag epoch that was ever in the keyring; 0 while none was seen.
    #[serde(default)]
    pub highest_epoch: u16,
}

/// Why what is known could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// The file system refused.
    #[error("{what} in STATE_DIR {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or the directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is none of ours, or damaged.
    #[error(
        "{} in STATE_DIR cannot be read: {why}; if the file is damaged, move it away: what it knew is forgotten then",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The deployment record holds an id that is none.
    #[error("{0:?} is no deployment id: it takes hex digits")]
    NotAnId(String),
}

impl Known {
    /// Nothing but the deployment's name.
    #[must_use]
    pub fn nothing_of(deployment: &str) -> Self {
        Self { deployment: deployment.to_owned(), generation: 0, size: 0, head: None, highest_epoch: 0 }
    }

    /// The head, if one is known.
    #[must_use]
    pub fn audit_head(&self) -> Option<Head> {
        self.head.filter(|_| self.size > 0).map(|hash| Head { size: self.size, hash })
    }

    /// The same with this head, where it is a higher one.
    #[must_use]
    pub fn with_head(mut self, head: Option<Head>) -> Self {
        if let Some(head) = head.filter(|head| head.size > self.size) {
            (self.size, self.head) = (head.size, Some(head.hash));
        }
        self
    }

    /// The maximum of both: the later generation's head counts; within one generation the higher one; of two that are as high the one
    /// that was known first.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        let highest_epoch = self.highest_epoch.max(other.highest_epoch);
        let is_later = (other.generation, other.size) > (self.generation, self.size);
        Self { highest_epoch, ..if is_later { other } else { self } }
    }
}

impl StateDir {
    /// Makes the directory if it is missing, and proves that it can be read and written.
    ///
    /// # Errors
    /// See [`StateDirError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StateDirError> {
        let path = path.as_ref();
        fs::create_dir_all(path).map_err(failed("cannot make the directory", path))?;
        let dir = Self { path: path.into() };
        // Processes in containers share the directory and often have the same process id.
        let probe = dir.path.join(format!(".probe-{:016x}", ambient::entropy::random_u64()));
        replace(&dir.path, &probe, b"")?;
        fs::remove_file(&probe).map_err(failed("cannot remove a file", &probe))?;
        let listed = fs::read_dir(path).map_err(failed("cannot list the directory", path))?;
        for entry in listed {
            let file = entry.map_err(failed("cannot list the directory", path))?.path();
            if file.extension().is_some_and(|ending| ending == "json") {
                read(&file)?;
            }
        }
        Ok(dir)
    }

    /// What is known of a deployment; `None` before anything was noted.
    ///
    /// # Errors
    /// See [`StateDirError`].
    pub fn known(&self, deployment: &str) -> Result<Option<Known>, StateDirError> {
        let known = read(&self.file_of(deployment, "json")?)?;
        Ok(known.filter(|known| known.deployment == deployment))
    }

    /// Merges `update` into what is known of its deployment, and gives the result. The file is written only where something changes.
    ///
    /// # Errors
    /// See [`StateDirError`].
    pub fn merge(&self, update: Known) -> Result<Known, StateDirError> {
        let file = self.file_of(&update.deployment, "json")?;
        let lock = self.file_of(&update.deployment, "lock")?;
        let _locked = locked(&lock)?;
        let standing = read(&file)?.filter(|known| known.deployment == update.deployment);
        let merged = match &standing {
            Some(standing) => standing.clone().merged(update),
            None => update,
        };
        if standing.as_ref() != Some(&merged) {
            let mut bytes =
                serde_json::to_vec(&merged).expect("plain data is always serialisable into memory");
            bytes.push(b'\n');
            replace(&self.path, &file, &bytes)?;
        }
        Ok(merged)
    }

    /// The path of a deployment's file. What is stored in Redis names it, so it must be a plain name.
    fn file_of(&self, deployment: &str, ending: &str) -> Result<PathBuf, StateDirError> {
        let is_id = (1..=64).contains(&deployment.len())
            && deployment.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_id {
            return Err(StateDirError::NotAnId(deployment.chars().take(64).collect()));
        }
        Ok(self.path.join(format!("{deployment}.{ending}")))
    }
}

impl fmt::Display for StateDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateDirError {
    let path = path.to_owned();
    move |source| StateDirError::Io { what, path, source }
}

/// The lock, held until it is dropped.
fn locked(path: &Path) -> Result<File, StateDirError> {
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let lock = opened.map_err(failed("cannot open the lock", path))?;
    let mut waited = Duration::ZERO;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if waited < LOCKED_AT_MOST => {
                std::thread::sleep(TRY_LOCK_EVERY);
                waited += TRY_LOCK_EVERY;
            }
            Err(TryLockError::WouldBlock) => {
                let source = io::Error::new(io::ErrorKind::TimedOut, "another process holds it");
                return Err(failed("cannot get the lock", path)(source));
            }
            Err(TryLockError::Error(source)) => return Err(failed("cannot get the lock", path)(source)),
        }
    }
}

fn read(path: &Path) -> Result<Option<Known>, StateDirError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("cannot read a file", path)(error)),
    };
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, LONGEST_FILE), &mut text)
        .map_err(failed("cannot read a file", path))?;
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).map_err(|error| StateDirError::Damaged { path: path.to_owned(), why: error.to_string() })
}

/// Puts `bytes` in the place of `file`, so that a reader, or a crash, finds the old bytes or the new ones.
fn replace(dir: &Path, file: &Path, bytes: &[u8]) -> Result<(), StateDirError> {
    let fresh = file.with_extension(format!("{}.tmp", std::process::id()));
    let written = File::create(&fresh).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()
    });
    written.map_err(failed("cannot write a file", &fresh))?;
    fs::rename(&fresh, file).map_err(failed("cannot replace a file", file))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("cannot sync the directory", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00112233445566778899aabbccddeeff";

    fn known(generation: u64, size: u64, fill: u8) -> Known {
        let head = Some(Head { size, hash: Hash::from_bytes([fill; 32]) });
        Known { generation, ..Known::nothing_of(ID) }.with_head(head)
    }

    #[test]
    fn what_is_known_only_grows_but_for_a_later_generation() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(folder.path().join("state")).unwrap();
        assert_eq!(dir.known(ID).unwrap(), None);
        for (update, stands) in [
            (known(0, 7, 1), known(0, 7, 1)),
            (known(0, 6, 2), known(0, 7, 1)),
            (known(0, 7, 3), known(0, 7, 1)),
            (known(0, 9, 4), known(0, 9, 4)),
            (known(1, 3, 5), known(1, 3, 5)),
            (known(0, 99, 6), known(1, 3, 5)),
        ] {
            assert_eq!(dir.merge(update).unwrap(), stands);
            assert_eq!(dir.known(ID).unwrap(), Some(stands));
        }
        let epochs = dir.merge(Known { highest_epoch: 7, ..Known::nothing_of(ID) }).unwrap();
        assert_eq!((epochs.size, epochs.highest_epoch), (3, 7));
        let files: Vec<_> = fs::read_dir(folder.path().join("state")).unwrap().collect();
        assert_eq!(files.len(), 2, "the file and its lock: {files:?}");
    }

    #[test]
    fn many_that_write_at_once_lose_no_maximum() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(folder.path()).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8_u64 {
                let dir = dir.clone();
                scope.spawn(move || {
                    for step in 1..=10 {
                        dir.merge(known(0, step * 10 + writer, 1)).unwrap();
                    }
                });
            }
        });
        assert_eq!(dir.known(ID).unwrap().unwrap().size, 107);
    }

    #[test]
    fn many_that_start_at_once_do_not_take_each_others_probe_away() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| drop(StateDir::open(folder.path()).unwrap())));
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        for (path, says) in [(file.join("below"), "cannot make"), (file.clone(), "cannot make")] {
            let error = StateDir::open(&path).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("file"), "{error}");
        }
        let damaged = folder.path().join("state");
        fs::create_dir(&damaged).unwrap();
        for bytes in ["", "{", "[]", "{\"size\":1}"] {
            fs::write(damaged.join(format!("{ID}.json")), bytes).unwrap();
            let error = StateDir::open(&damaged).unwrap_err().to_string();
            assert!(error.contains(ID) && error.contains("move it away"), "{error}");
        }
    }

    #[test]
    fn a_deployment_id_is_never_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(folder.path()).unwrap();
        for id in ["", "../x", "A", "a/b", &"a".repeat(65)] {
            assert!(matches!(dir.known(id), Err(StateDirError::NotAnId(_))), "{id}");
        }
    }

    #[test]
    fn a_lock_that_is_held_for_too_long_is_an_error_and_no_hang() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(folder.path()).unwrap();
        let held = locked(&folder.path().join(format!("{ID}.lock"))).unwrap();
        let error = dir.merge(known(0, 1, 1)).unwrap_err().to_string();
        assert!(error.contains("another process holds it"), "{error}");
        drop(held);
        dir.merge(known(0, 1, 1)).unwrap();
    }
}
