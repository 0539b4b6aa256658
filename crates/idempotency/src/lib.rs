//! Idempotent requests: one claim, one effect, one stored response.
//!
//! ```text
//! (none)  → claimed     one script call writes fingerprint, lease and fencing token
//! claimed → claimed     the lease ended without a response: the next try takes over with the next token
//! claimed → done        by the script call that writes the effect and its event, or by a separate one if
//!                       the request has no effect
//! claimed → (none)      the request was rejected: nothing is stored
//! done    → (none)      after its time to live
//! ```
//!
//! [`Idempotency::claim_or_wait`] returns one [`ClaimOutcome`]: execute, replay or reject.
//! [`Claim::complete_in`] adds a precondition (the record still begins with this claim's fence) and a write
//! (the response) to an effect. Effect, event and response are therefore written together or not at all, and
//! a try that was overtaken writes nothing. A retry creates the same ids, time and nonce as the first try,
//! because they come from the claim ([`Claim::id`]).
//!
//! A response is stored for [`IdempotencyConfig::ttl`] after completion; replaying it does not extend that. A
//! claim that is never completed ends as long after its last renewal. After either, the key is new.
//!
//! It fails closed with [`IdempotencyError`]: without Redis there is no claim, and without a claim nothing is
//! executed. Start at `store.rs` (claiming) and `claim.rs` (completing); stored bytes are in `record.rs`,
//! Redis keys in [`keys`].

mod answer;
mod claim;
mod error;
mod key;
pub mod keys;
mod metrics;
mod namespace;
mod outcome;
mod record;
mod store;

pub use answer::{MAX_BODY, StoredResponse};
pub use claim::{Claim, ClaimWrite, KeepAlive};
pub use error::IdempotencyError;
pub use key::{IdempotencyKey, KeyError, MAX_KEY};
pub use metrics::IdempotencyMetrics;
pub use namespace::{Fingerprint, Namespace, RecordKey};
pub use outcome::{ClaimOutcome, ClaimRejection};
pub use record::Origin;
pub use store::{Idempotency, IdempotencyConfig};
