//! `STATE_DIR`: what the processes of one host remember of a deployment outside Redis.
//!
//! A process that starts after a backup was restored compares Redis with this directory, so it notices the
//! restore.
//!
//! There is one file per deployment, `<deployment id>.json`. Services and the command line share the
//! directory. A writer takes the file's lock, reads the file, merges its update and replaces the file by an
//! atomic rename. It calls `fsync` on the file and on the directory. All functions block; call them outside
//! the async runtime.

mod files;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use audit_chain::{Hash, Head};
use serde::{Deserialize, Serialize};

use files::failed;

/// A directory that can be read and written.
///
/// # Examples
///
/// ```
/// use storage::{Known, StateDir};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path();
/// let deployment = "00112233445566778899aabbccddeeff";
/// let dir = StateDir::open(path)?;
/// assert_eq!(dir.known(deployment)?, None);
///
/// let update = Known { highest_epoch: 3, ..Known::nothing_of(deployment) };
/// dir.merge(update.clone())?;
/// // A smaller value does not overwrite a greater one.
/// dir.merge(Known::nothing_of(deployment))?;
/// assert_eq!(dir.known(deployment)?, Some(update));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct StateDir {
    path: Arc<Path>,
}

/// What is known of one deployment: the highest audit head of the latest restore generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The deployment's id.
    pub deployment: String,
    /// The restore generation of the deployment record: see `catalog::Deployment`.
    #[serde(default)]
    pub generation: u64,
    /// The number of entries in the audit chain.
    #[serde(default)]
    pub size: u64,
    /// The hash of the last entry; `None` while there is no entry.
    #[serde(default)]
    pub head: Option<Hash>,
    /// The highest number of a tag epoch that was ever in the keyring; 0 if no epoch was seen.
    #[serde(default)]
    pub highest_epoch: u16,
}

/// The deployment record in Redis is older than the one that was seen: a backup was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deployment record is of restore generation {found}, and {seen} was seen")]
pub struct EarlierGeneration {
    /// The restore generation of the record in Redis.
    pub found: u64,
    /// The highest restore generation that was seen.
    pub seen: u64,
}

/// An error of reading or writing `STATE_DIR`.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// A file operation failed.
    #[error("{what} in STATE_DIR {}: {source}", path.display())]
    Io {
        /// The operation that failed.
        what: &'static str,
        /// The file or the directory.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// A file is damaged, or another program wrote it.
    #[error(
        "{} in STATE_DIR cannot be read: {why}; if the file is damaged, move it away: its knowledge is then lost",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        why: String,
    },
    /// The deployment record holds a text that is not a deployment id.
    #[error("{0:?} is not a deployment id: it takes 1 to 64 hex digits, 0-9 a-f")]
    NotAnId(String),
}

impl Known {
    /// Returns the starting point for a deployment of which nothing is known.
    #[must_use]
    pub fn nothing_of(deployment: &str) -> Self {
        Self { deployment: deployment.to_owned(), generation: 0, size: 0, head: None, highest_epoch: 0 }
    }

    /// Returns the head, `None` if none is known.
    #[must_use]
    pub fn audit_head(&self) -> Option<Head> {
        self.head.filter(|_| self.size > 0).map(|hash| Head { size: self.size, hash })
    }

    /// Returns the head that the chain of a restore generation must contain, `None` if none is known.
    ///
    /// A head of an earlier generation does not count: with the later generation, an operator accepted a
    /// chain that may be shorter.
    ///
    /// # Errors
    /// [`EarlierGeneration`] if a later generation than `generation` was seen.
    pub fn head_in(&self, generation: u64) -> Result<Option<Head>, EarlierGeneration> {
        if self.generation > generation {
            return Err(EarlierGeneration { found: generation, seen: self.generation });
        }
        Ok(self.audit_head().filter(|_| self.generation == generation))
    }

    /// Replaces the head by `head` if that is higher.
    #[must_use]
    pub fn with_head(mut self, head: Option<Head>) -> Self {
        if let Some(head) = head.filter(|head| head.size > self.size) {
            (self.size, self.head) = (head.size, Some(head.hash));
        }
        self
    }

    /// Returns the maximum of both.
    ///
    /// The head of the later generation wins; within one generation the higher head wins; of two equally high
    /// heads the one in `self` stays.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        let highest_epoch = self.highest_epoch.max(other.highest_epoch);
        let is_later = (other.generation, other.size) > (self.generation, self.size);
        Self { highest_epoch, ..if is_later { other } else { self } }
    }
}

impl StateDir {
    /// Creates the directory if it is missing, and checks that it can be read and written.
    ///
    /// # Errors
    /// See [`StateDirError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StateDirError> {
        let path = path.as_ref();
        fs::create_dir_all(path).map_err(failed("cannot make the directory", path))?;
        let dir = Self { path: path.into() };
        // Processes in containers share the directory and often have the same process id.
        let probe = dir.path.join(format!(".probe-{:016x}", ambient::entropy::random_u64()));
        files::replace(&dir.path, &probe, b"")?;
        fs::remove_file(&probe).map_err(failed("cannot remove a file", &probe))?;
        let listed = fs::read_dir(path).map_err(failed("cannot list the directory", path))?;
        for entry in listed {
            let file = entry.map_err(failed("cannot list the directory", path))?.path();
            if file.extension().is_some_and(|ending| ending == "json") {
                files::read(&file)?;
            }
        }
        Ok(dir)
    }

    /// Returns what is known of a deployment; `None` if nothing was stored.
    ///
    /// # Errors
    /// See [`StateDirError`].
    pub fn known(&self, deployment: &str) -> Result<Option<Known>, StateDirError> {
        let known = files::read(&self.file_of(deployment, "json")?)?;
        Ok(known.filter(|known| known.deployment == deployment))
    }

    /// Merges `update` into what is known of its deployment, and returns the result.
    ///
    /// Writes the file only if something changes.
    ///
    /// # Errors
    /// See [`StateDirError`].
    pub fn merge(&self, update: Known) -> Result<Known, StateDirError> {
        let file = self.file_of(&update.deployment, "json")?;
        let lock = self.file_of(&update.deployment, "lock")?;
        let _locked = files::lock(&lock)?;
        let stored = files::read(&file)?.filter(|known| known.deployment == update.deployment);
        let merged = match &stored {
            Some(stored) => stored.clone().merged(update),
            None => update,
        };
        if stored.as_ref() != Some(&merged) {
            let mut bytes =
                serde_json::to_vec(&merged).expect("plain data is always serialisable into memory");
            bytes.push(b'\n');
            files::replace(&self.path, &file, &bytes)?;
        }
        Ok(merged)
    }

    /// Returns the path of a deployment's file. The id comes from Redis, so it is checked to be a plain name.
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
