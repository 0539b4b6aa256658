//! Idempotent requests: one claim, one effect, one answer.
//!
//! ```text
//! (none) → claimed      by one script: fingerprint, lease, fencing token
//! claimed → claimed     the lease ended without an answer: the next try takes over with the next token
//! claimed → done        in the very script call that writes the effect and its event, or by one of its own where there is no effect
//! claimed → (none)      the request was refused: nothing is kept
//! done → (none)         after its time to live
//! ```
//!
//! An answer is kept for [`IdempotencyConfig::ttl`], 24 h, from its completion; reading it again does not prolong that. A claim that is never
//! completed ends 24 h after its last renewal, and so does what it fixes: ids, time and nonce. After either the key is new.
//!
//! Completing a claim is data: one [`audit_chain::Precondition`] (the record still begins with this claim's fence) and one
//! [`audit_chain::RedisWrite`] (the answer), so an effect, its event and the answer are written together or not at all, and a try
//! that was overtaken writes nothing, even when the record was released or expired and claimed anew since. What a retry makes is
//! the same as what the first try would have made: ids come from the claim ([`Claim::id`]), and so do time, nonce and origin of
//! the event.
//!
//! It fails closed: without Redis there is no claim, and without a claim nothing is carried out.

mod answer;
mod claim;
mod error;
mod key;
pub mod keys;
mod namespace;
mod record;
mod store;

pub use answer::{MAX_BODY, StoredResponse};
pub use claim::{Claim, KeepAlive};
pub use error::IdempotencyError;
pub use key::{IdempotencyKey, KeyError, MAX_KEY};
pub use namespace::{Fingerprint, Namespace, RecordKey};
pub use record::Origin;
pub use store::{ClaimOutcome, Idempotency, IdempotencyConfig};
