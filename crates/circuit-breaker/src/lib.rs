//! A circuit breaker: when a dependency fails time after time, stop asking it for a while, then let it prove
//! itself with one call at a time, so that neither the callers wait in vain nor the recovering dependency is
//! stampeded. The numbers are those of the public contract, docs/contract.md §7.
//!
//! ```text
//!             5 failures in a row                  10 s ± 20 % over
//!   Closed ───────────────────────────▶ Open ───────────────────────────▶ HalfOpen, one probe at a time
//!     ▲                                   ▲                                  │           │
//!     │                                   └────────── a probe fails ─────────┘           │
//!     └───────────────────────── 3 probes in a row succeed ──────────────────────────────┘
//! ```
//!
//! The crate is pure: it reads no clock, knows no transport, holds no lock and never blocks. A caller passes `now`,
//! the time since any fixed origin, asks for a [`Permit`], makes its call and reports on the permit. A permit that is
//! dropped instead, because its call was cancelled or never reached the dependency, counts as neither a success nor
//! a failure, and a probe dropped so frees its place.
//!
//! # How it fails
//!
//! It refuses, with [`Rejected`], which says when the next probe could pass. It has no other error. Every change of
//! state begins a new *generation*; a permit is of the generation it was given in, and a report of an earlier one
//! changes nothing, so a call that hung through an outage can neither close nor reopen the breaker.
//!
//! ```
//! use std::time::Duration;
//! use circuit_breaker::{Breaker, BreakerConfig};
//!
//! let breaker = Breaker::new(BreakerConfig::new(Duration::from_millis(200)), 42);
//! let now = Duration::ZERO;
//! match breaker.try_acquire(now) {
//!     Ok(permit) => permit.success(now),
//!     Err(rejected) => println!("again in {:?}", rejected.retry_after),
//! }
//! ```

mod breaker;
mod config;
mod permit;
mod sync;
mod word;

pub use breaker::{Breaker, BreakerState, Rejected, Transitions};
pub use config::BreakerConfig;
pub use permit::Permit;
