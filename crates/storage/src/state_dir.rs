//! `STATE_DIR`: what the processes of one host remember of a deployment outside Redis.
//!
//! A process that starts after a backup was restored compares Redis with this directory, so it notices the
//! restore.
//!
//! There is one file per deployment, `<deployment id>.json`. Services and the command line share the
//! directory. A writer takes the file's lock, reads the file, merges its update and replaces the file by an
//! atomic rename. It calls `fsync` on the file and on the directory. All functions block; call them outside
//! the async runtime.

mod error;
mod files;
mod known;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::StateDirError;
use error::failed;
pub use known::{EarlierGeneration, Known};

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
/// let update = Known { highest_epoch: 3, ..Known::initial(deployment) };
/// dir.merge(update.clone())?;
/// // A smaller value does not overwrite a greater one.
/// dir.merge(Known::initial(deployment))?;
/// assert_eq!(dir.known(deployment)?, Some(update));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct StateDir {
    path: Arc<Path>,
}

impl StateDir {
    /// Creates the directory if it is missing, and checks that it can be read and written.
    ///
    /// # Errors
    /// See [`StateDirError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StateDirError> {
        let path = path.as_ref();
        fs::create_dir_all(path).map_err(failed("cannot create the directory", path))?;
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
