//! Durable storage as a service uses it, without HTTP.
//!
//! [`DurableStorage`] assembles the parts for one process: the connections, the deployment and whether its
//! state is lost, the keyring, the audit writer, the refresher and the readiness checks. Each part is handed
//! to the code that needs it.
//!
//! ```
//! # use std::{num::NonZeroUsize, sync::Arc, time::Duration};
//! # use ambient::{Clock, SystemClock};
//! # use catalog::{Expectation, Init};
//! # use keyring::SigningKeys;
//! # use redis_pool::{PoolConfig, PoolMetrics, RedisPool};
//! # use storage::{DurablePools, DurableSetup, KeyringSetup};
//! # use tag_id::{Epoch, MasterSecret, TagKeys};
//! use audit_chain::{AuditMetrics, Details, Effect, NewEvent};
//! use storage::{DurableMetrics, DurableStorage, GateError};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let redis = test_support::RedisServer::start().await;
//! # let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
//! # let config = PoolConfig {
//! #     name: "durable",
//! #     url: redis.url().parse()?,
//! #     permits: NonZeroUsize::MIN,
//! #     connections: NonZeroUsize::MIN,
//! #     wait: Duration::from_secs(30),
//! #     command_timeout: Duration::from_secs(30),
//! #     open_for: redis_pool::OPEN_FOR,
//! # };
//! # let pool = |config| RedisPool::new(config, Arc::clone(&clock), &PoolMetrics::default());
//! # let pools = DurablePools { requests: pool(config.clone()), heartbeats: pool(config) };
//! # let origin = "example.org/audit";
//! # let expectation = Expectation {
//! #     tag_keys: Arc::new(TagKeys::new(Some(MasterSecret::from([7; 32])), [])),
//! #     adds_epoch: Some(Epoch::MIN),
//! #     audit_origin: origin.to_owned(),
//! # };
//! # let signing = Arc::new(SigningKeys::none(origin));
//! # let keyring = KeyringSetup { announce: None, seeds: Some(Epoch::MIN), signing };
//! # let setup = DurableSetup { expectation, init: Init::Auto, keyring, state_dir: None };
//! # let event = NewEvent {
//! #     tenant: "acme".to_owned(), actor: "cli".to_owned(), action: "product.created".to_owned(),
//! #     resource: "product/1".to_owned(), request_id: "r".to_owned(), ip: None, details: Details::new(),
//! # };
//! let storage =
//!     DurableStorage::new(pools, setup, &clock, AuditMetrics::default(), &DurableMetrics::default());
//! assert_eq!(storage.deployment.deployment().unwrap_err(), GateError::NotRead);
//!
//! storage.refresher.refresh().await?; // a service refreshes in the background
//! assert!(storage.deployment.deployment().is_ok());
//! let appended = storage.audit.append(event, Effect::none()).await?;
//! assert_eq!(appended.seq, 0);
//! # Ok(())
//! # }
//! ```

mod audit_writer;
mod deployment_state;
mod durable_storage;
mod error;
mod key_leak_alarm;
mod key_trust;
mod live_keyring;
mod metrics;
mod readiness;
mod redis_settings;
mod refresher;
mod signing_watch;
mod state_dir;
mod state_memory;

pub use audit_writer::{AuditWriter, EventIdentity};
pub use deployment_state::DeploymentState;
pub use durable_storage::{DurablePools, DurableSetup, DurableStorage, KeyringSetup};
pub use error::{AppendFailure, GateError, StorageError};
pub use key_leak_alarm::KeyLeakAlarm;
pub use key_trust::{KeyTrust, TrustedKey, UntrustedKey};
pub use live_keyring::LiveKeyring;
pub use metrics::DurableMetrics;
pub use readiness::{AUDIT_CHAIN, PartHealth, StorageCheck, StorageReadiness};
pub use redis_settings::{RedisSettingsMetrics, RedisSettingsWatch};
pub use refresher::StorageRefresher;
pub use state_dir::{EarlierGeneration, Known, StateDir, StateDirError};
