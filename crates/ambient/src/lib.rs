//! The one place where VokeTag reads the clock and the operating system's randomness, and how it writes an instant.
//!
//! Everything else takes the time as an argument or holds a [`Clock`], so that a test can turn time by hand
//! and a state machine can be driven through ten hours in a microsecond. `clippy.toml` holds that line.

pub mod clock;
pub mod crash;
pub mod entropy;
pub mod rfc3339;

pub use clock::{Clock, ManualClock, SystemClock};
pub use crash::crash_point;
pub use entropy::{uuid_v7, uuid_v7_from};
