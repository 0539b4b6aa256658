//! How an appender behaves.

use crate::effect::precondition::Precondition;
use std::num::NonZeroUsize;
use std::time::Duration;

/// How an appender behaves.
#[derive(Debug, Clone)]
pub struct AppenderConfig {
    /// Name of the chain. The first entry is hashed with it.
    pub origin: String,
    /// Preconditions of every append, for example that the deployment record is the one seen at the start. If
    /// one fails, every append returns [`crate::AppendError::StateLost`].
    pub guard: Vec<Precondition>,
    /// Most entries of one script call; values above 2,048 count as 2,048.
    pub max_entries_per_call: NonZeroUsize,
    /// Bytes of entries and effects after which a call takes no further entry. The first entry is always
    /// taken.
    pub max_bytes_per_call: usize,
    /// Most events that wait to be taken in. One more is [`crate::AppendError::Overloaded`] at once.
    pub queue: NonZeroUsize,
    /// Longest time that an event waits for its turn and loses races, from when it was handed in.
    pub deadline: Duration,
}

impl AppenderConfig {
    /// Makes the default configuration: 256 entries or 1 MiB per call, a queue of 4,096 and a deadline of 2 s
    /// (the public contract, docs/contract.md §8).
    #[must_use]
    pub fn new(origin: impl Into<String>, guard: Vec<Precondition>) -> Self {
        const ENTRIES: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
        const QUEUE: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
        Self {
            origin: origin.into(),
            guard,
            max_entries_per_call: ENTRIES,
            max_bytes_per_call: 1024 * 1024,
            queue: QUEUE,
            deadline: Duration::from_secs(2),
        }
    }
}
