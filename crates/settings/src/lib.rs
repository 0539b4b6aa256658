//! Reads the environment of a process once, at its start, into typed settings.
//!
//! [`Env`] is a snapshot of the variables. No other code of the workspace reads the environment. A [`Kind`]
//! parses a setting and describes in errors what the setting takes. This crate holds the sections that both
//! services share: [`WebSettings`], [`RedisSettings`], [`TagSettings`], [`SigningSettings`],
//! [`DeploymentSettings`] and [`LogSettings`]. Each service adds its own. docs/contract.md, section 9,
//! documents the variables.
//!
//! [`WebSettings::listening`] converts its section for the HTTP server of the crate `http-edge`. No other
//! section depends on HTTP.
//!
//! ```
//! use std::time::Duration;
//!
//! use settings::{Env, RedisSettings, millis};
//!
//! let variables = [("REDIS_URL", "redis://:secret@redis.example:6380"), ("PAUSE_MS", "250")];
//! let env: Env = variables.into_iter().collect();
//! let redis = RedisSettings::from_env(&env)?;
//! let pause = env.get("PAUSE_MS", Duration::from_millis(100), &millis(1..=60_000))?;
//! assert_eq!((redis.permits.get(), pause), (100, Duration::from_millis(250)));
//! assert!(!env.effective().to_string().contains("secret"));
//!
//! let wrong: Env = [("PAUSE_MS", "soon")].into_iter().collect();
//! let error = wrong.get("PAUSE_MS", Duration::from_millis(100), &millis(1..=60_000)).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     r#"PAUSE_MS is "soon"; it takes milliseconds, a whole number from 1 to 60000"#
//! );
//! # Ok::<(), settings::EnvError>(())
//! ```

mod deployment;
mod env;
mod kind;
mod log;
mod proxies;
mod quota;
mod redis;
mod serve;
mod signing;
mod tags;
mod traces;
mod web;

pub use deployment::DeploymentSettings;
pub use env::{Effective, Env, EnvError, Misspelt};
pub use kind::{
    Kind, base_url, bind_address, choice, factor, millis, non_zero_u32, non_zero_usize, seconds, switch,
    text, whole,
};
pub use log::{LogError, LogFormat, LogGuard, LogSettings};
pub use proxies::{ProxyListError, ProxyNetworks};
pub use quota::{per_minute, quota};
pub use redis::{RedisSettings, redis_address};
pub use serve::Serve;
pub use signing::SigningSettings;
pub use tags::TagSettings;
pub use web::WebSettings;
