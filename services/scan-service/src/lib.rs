//! scan-service, which answers the phone that scans a tag. It is exposed to the open internet.
//!
//! [`settings`] reads the environment and [`startup`] assembles the service. `router` lists the routes. Each
//! handler in `handlers` parses a request, calls one function of `domain`, and maps the result to a response.
//!
//! ```
//! use scan_service::settings::ScanSettings;
//! use settings::Env;
//!
//! let secret = "0123456789abcdef".repeat(4);
//! let variables = [
//!     ("REDIS_URL", "redis://127.0.0.1:6379"),
//!     ("TAG_MASTER_SECRET", secret.as_str()),
//!     ("AUDIT_ORIGIN", "audit.example.com"),
//!     ("RATE_LIMIT_IP_PER_MINUTE", "60"),
//! ];
//! let env: Env = variables.into_iter().collect();
//! let settings = ScanSettings::from_env(&env)?;
//! assert_eq!(settings.limits.per_ip.get(), 60);
//! assert_eq!(settings.web.bind.port(), 8080);
//! # Ok::<(), settings::EnvError>(())
//! ```

mod document;
mod domain;
mod handlers;
mod metrics;
mod origin;
mod router;
pub mod settings;
pub mod startup;
mod state;
