//! Limits how many requests a caller makes in a minute. The counts are exact and live in a Redis that several
//! processes share.
//!
//! **The rule.** No 60 s window admits more requests than the limit. A denied request uses no quota. The
//! state of one caller has a constant upper bound. [`SlidingWindow`] explains the algorithm;
//! `lua/limiter.lua` runs it inside Redis with Redis's clock.
//!
//! **Cold start.** A region is *born* when its Redis first holds its birth record, which the deciding script
//! writes. Until the period of [`ColdStart`] has passed, limits are reduced to a fraction, so that nobody
//! gains from a new or emptied Redis. A process that starts in a warm region is not cold. A region whose
//! Redis lost its state is cold at once, and [`Limiter`] logs and counts the loss.
//!
//! **Parts.**
//!
//! | type | task |
//! | --- | --- |
//! | [`Limiter`] | decides in one region, alone or as a part of a larger script ([`LUA_LIB`]) |
//! | [`GlobalLimiter`] | counts the same caller over all regions |
//! | [`LocalLimiter`] | decides in this process while Redis is unavailable |
//! | [`RegionalGlobalLimiter`] | asks these three in order |
//! | [`SteadyLimiter`] | counts authenticated callers, without cold start |
//! | [`DeniedCache`] | remembers denials that are still in force |
//!
//! **Failure.** A denial is a value, [`Decision::Denied`]. An error is always a [`redis_pool::PoolError`].
//! The caller, or [`OnRedisDown`], decides what happens to the request then. It is never unlimited.
//!
//! ```
//! use std::num::NonZeroUsize;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use ambient::SystemClock;
//! use prometheus_client::registry::Registry;
//! use rate_limiter::{
//!     ColdStart, Decision, Dimension, DimensionName, Factor, Limiter, LimiterMetrics, Quota, Region,
//! };
//! use redis_pool::{OPEN_FOR, PoolConfig, PoolMetrics, RedisPool};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let redis = test_support::RedisServer::start().await;
//! let config = PoolConfig {
//!     name: "limiter",
//!     url: redis.url().parse()?,
//!     permits: NonZeroUsize::MIN,
//!     connections: NonZeroUsize::MIN,
//!     wait: Duration::from_secs(10),
//!     command_timeout: Duration::from_secs(10),
//!     open_for: OPEN_FOR,
//! };
//! let clock = Arc::new(SystemClock::new());
//! let pool = RedisPool::new(config, clock.clone(), &PoolMetrics::default());
//! let cold_start = ColdStart::new(Duration::from_secs(300), Factor::new(0.5)?)?;
//! let metrics = LimiterMetrics::register(&mut Registry::default());
//! let limiter = Limiter::new(pool, Region::new("eu")?, cold_start, metrics, clock);
//!
//! // The region is new, so half of four requests per minute pass.
//! let caller = Dimension { name: DimensionName::Ip, subject: "192.0.2.1", quota: Quota::new(4)? };
//! assert!(limiter.decide(&[caller]).await?.is_allowed());
//! assert!(limiter.decide(&[caller]).await?.is_allowed());
//! let Decision::Denied { retry_after, .. } = limiter.decide(&[caller]).await? else { panic!("denied") };
//! assert!(retry_after <= Duration::from_secs(60));
//! # Ok(())
//! # }
//! ```

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
