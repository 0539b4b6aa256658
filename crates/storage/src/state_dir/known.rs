//! What `STATE_DIR` holds of one deployment.

use audit_chain::{Hash, Head};
use serde::{Deserialize, Serialize};

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

impl Known {
    /// Returns the starting point for a deployment of which nothing is known.
    #[must_use]
    pub fn initial(deployment: &str) -> Self {
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
