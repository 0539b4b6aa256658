//! A circuit breaker: it stops calls to a dependency that keeps failing, and later lets single calls test it.
//!
//! Callers then do not wait for replies that do not come, and a recovering dependency is not flooded. The
//! default numbers are those of the public contract (docs/contract.md §7).
//!
//! ```text
//!             5 failures in a row                  after 10 s ± 20 %
//!   Closed ───────────────────────────▶ Open ───────────────────────────▶ HalfOpen, one probe at a time
//!     ▲                                   ▲                                  │           │
//!     │                                   └────────── a probe fails ─────────┘           │
//!     └───────────────────────── 3 probes in a row succeed ──────────────────────────────┘
//! ```
//!
//! The crate is pure: it reads no clock, knows no transport, takes no lock and never blocks. A caller passes
//! `now`, the time since any fixed origin, to [`Breaker::try_acquire`] and gets a [`Permit`]. It makes its
//! call and reports the outcome on the permit. A permit is dropped without a report if its call was cancelled
//! or never reached the dependency. It then counts as neither success nor failure, and a dropped probe lets
//! the next probe start.
//!
//! # Errors
//!
//! The only error is [`Rejected`], which says when the next probe can pass. Each change of state begins a new
//! *generation*. A permit belongs to the generation in which it was issued, and a report on a permit of an
//! earlier generation changes nothing. So a call that hung during an outage can neither close nor reopen the
//! breaker.

mod breaker;
mod config;
mod limits;
mod state;
mod sync;
mod word;

pub use breaker::{Breaker, Permit};
pub use config::BreakerConfig;
pub use state::{BreakerState, Rejected, Transitions};
