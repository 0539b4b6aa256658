//! The environment of a process, read once at its start into typed settings.
//!
//! [`Env`] is a snapshot of the variables and the only code of the workspace that reads them. A setting is read as a
//! [`Kind`], which knows what the variable takes and says so in the error. The sections that both services share are
//! here ([`WebSettings`], [`RedisSettings`], [`TagSettings`], [`SigningSettings`], [`DeploymentSettings`],
//! [`LogSettings`]); each service adds its own. The variables are documented in docs/contract.md, section 9.
//!
//! The crate knows no HTTP: a service's `startup` turns a section into what the HTTP server takes.
//!
//! ```
//! use std::time::Duration;
//!
//! use settings::{Env, RedisSettings, millis};
//!
//! let env: Env = [("REDIS_URL", "redis://:secret@redis.example:6380"), ("PAUSE_MS", "250")].into_iter().collect();
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
mod web;

pub use deployment::DeploymentSettings;
pub use env::{Effective, Env, EnvError, Misspelt};
pub use kind::{
    Kind, base_url, bind_address, choice, factor, millis, non_zero_u32, non_zero_usize, seconds, switch,
    text, whole,
};
pub use log::{LogError, LogFormat, LogSettings};
pub use proxies::{ProxyListError, ProxyNetworks};
pub use quota::{per_minute, quota};
pub use redis::{RedisSettings, redis_address};
pub use serve::Serve;
pub use signing::SigningSettings;
pub use tags::TagSettings;
pub use web::WebSettings;
