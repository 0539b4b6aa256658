//! Clock, randomness, crash points and the text form of an instant: the only crate that reads the first two.
//!
//! All other code takes the time as an argument or holds a [`Clock`], so that a test can set the time and
//! drive a state machine through ten hours in a microsecond. The list of banned methods in `clippy.toml`
//! enforces this.
//!
//! Nothing here fails or blocks. [`clock`] holds [`SystemClock`] and the tests' [`ManualClock`], [`entropy`]
//! the random bytes, jitter and UUIDs, [`rfc3339`] the timestamp format of responses, [`crash`] the crash
//! points.

pub mod clock;
pub mod crash;
pub mod entropy;
pub mod rfc3339;

pub use clock::{Clock, ManualClock, SystemClock, from_unix_millis};
pub use crash::crash_point;
pub use entropy::{uuid_v7, uuid_v7_from};
