//! How many requests a caller may make in a minute, counted exactly, in a Redis that several processes share.
//!
//! **The rule.** In no 60 s window are more admitted than the limit; a request that is denied uses up nothing; state per caller
//! is bounded by a constant. [`SlidingWindow`] explains how, `lua/limiter.lua` does it inside Redis, by Redis's own clock.
//!
//! **Cold start.** A region is *born* when its Redis first holds its birth record, which the same atomic call makes. Until
//! [`ColdStart`]'s period is over, limits are a fraction of their size, so a new or emptied Redis is no way round them. A
//! process that starts anew in a warm region is not cold; a Redis that lost its state is, at once, and [`Limiter`] says so.
//!
//! **Parts.** [`Limiter`] decides in a region, by itself or as a part of a bigger script ([`LUA_LIB`],
//! [`Limiter::push_keys`], [`Limiter::push_args`], [`Limiter::read`]). [`GlobalLimiter`] counts the same caller over all
//! regions. [`SteadyLimiter`] counts callers who have proven who they are, without cold start. [`DeniedCache`] remembers denials that
//! are still in force. [`LocalLimiter`] stands in, in this process, while Redis is away. [`RegionalGlobalLimiter`] asks them in order.
//!
//! **How it fails.** A denial is a value, [`Decision::Denied`]. An error is always [`redis_pool::PoolError`]; what becomes of a
//! request then is for the caller, or for [`OnRedisDown`], to say, and it is never "unlimited".

mod birth;
mod decision;
mod denied;
mod global;
mod keys;
mod limiter;
mod local;
mod log_gate;
mod metrics;
mod quota;
mod regional_global;
mod script;
mod sliding_window;
mod steady;

pub use decision::{Decision, RegionStatus, Report, Reservation, Status};
pub use denied::{Denial, DeniedCache};
pub use global::GlobalLimiter;
pub use keys::Region;
pub use limiter::{LimitInForce, Limiter, RegionInfo};
pub use local::LocalLimiter;
pub use metrics::LimiterMetrics;
pub use quota::{ColdStart, Dimension, DimensionName, Factor, Invalid, MAX_DIMENSIONS, Quota};
pub use regional_global::{OnRedisDown, RegionalGlobalLimiter};
pub use script::LUA_LIB;
pub use sliding_window::SlidingWindow;
pub use steady::SteadyLimiter;
