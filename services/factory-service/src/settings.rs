//! The settings of factory-service, read once from the environment. See docs/contract.md, section 9.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use rate_limiter::Quota;
use redis_pool::RedisUrl;
use settings::LogSettings;
use settings::{DeploymentSettings, RedisSettings, SigningSettings, TagSettings, WebSettings, redis_address};
use settings::{Env, EnvError, Kind, base_url, millis, per_minute, quota, seconds};

pub use crate::domain::identity::BootstrapDigest;

/// The default of `BIND_ADDR`.
const DEFAULT_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);
/// The allowed lengths of an API key in characters. A header line must hold it.
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 32..=512;
/// The default of `AUDIT_CHECKPOINT_SECS`.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// The default lease of a claim. The holder renews it three times per lease.
const LEASE: Duration = Duration::from_secs(10);
/// The allowed leases in milliseconds.
const LEASES_MS: std::ops::RangeInclusive<u64> = 100..=600_000;
/// The most bytes of `PUBLIC_BASE_URL`. With `/t/` and 26 characters after it, it must fit a QR code that is
/// readable in small print (version 12 at level M holds 287 bytes).
const LONGEST_BASE_URL: usize = 256;

/// All settings.
#[derive(Debug, Clone)]
pub struct FactorySettings {
    /// `BIND_ADDR`, `METRICS_BIND_ADDR`, `PUBLIC_BASE_URL`, `TRUSTED_PROXIES`.
    pub web: WebSettings,
    /// `REDIS_URL`, `REDIS_POOL_SIZE`, `REDIS_POOL_WAIT_MS`, `REDIS_COMMAND_TIMEOUT_MS`.
    pub redis: RedisSettings,
    /// `TAG_MASTER_SECRET…`, `TAG_KEY_EPOCH`.
    pub tags: TagSettings,
    /// `DEPLOYMENT_INIT`, `AUDIT_ORIGIN`.
    pub deployment: DeploymentSettings,
    /// `FACTORY_API_KEY[_FILE]`: the first key of tenant `default`. Only its digest is kept.
    pub api_key: BootstrapDigest,
    /// `AUDIT_SIGNING_KEY[_<n>][_FILE]`: the keys that sign checkpoints.
    pub signing: SigningSettings,
    /// `AUDIT_CHECKPOINT_SECS`: how often a checkpoint is signed if the chain has grown.
    pub checkpoint_every: Duration,
    /// `IDEMPOTENCY_LEASE_MS`: how long a request with an idempotency key may fail to renew its claim before
    /// another try takes it over.
    pub idempotency_lease: Duration,
    /// The rate limits.
    pub limits: FactoryLimitSettings,
    /// `LOG_FORMAT`, `RUST_LOG`.
    pub log: LogSettings,
}

/// The rate limits of API keys and client addresses. A tenant has five times the quotas of a key.
#[derive(Debug, Clone)]
pub struct FactoryLimitSettings {
    /// `RATE_LIMIT_REDIS_URL[_FILE]`. The default is the durable Redis.
    pub redis_url: RedisUrl,
    /// `RATE_LIMIT_FACTORY_WRITES_PER_MINUTE`, per key.
    pub writes: Quota,
    /// `RATE_LIMIT_FACTORY_READS_PER_MINUTE`, per key.
    pub reads: Quota,
    /// `RATE_LIMIT_FACTORY_AUTH_FAILURES_PER_MINUTE`, per address.
    pub auth_failures: Quota,
}

impl FactoryLimitSettings {
    fn from_env(env: &Env, redis: &RedisSettings) -> Result<Self, EnvError> {
        // Five times this value, the quota of a tenant, must be a valid quota.
        let most = Quota::MAX / 5;
        let quota = |name, default| env.get(name, per_minute(default), &quota(most));
        Ok(Self {
            redis_url: env.partly_secret_or("RATE_LIMIT_REDIS_URL", redis.url.clone(), &redis_address())?,
            writes: quota("RATE_LIMIT_FACTORY_WRITES_PER_MINUTE", 600)?,
            reads: quota("RATE_LIMIT_FACTORY_READS_PER_MINUTE", 6_000)?,
            auth_failures: quota("RATE_LIMIT_FACTORY_AUTH_FAILURES_PER_MINUTE", 60)?,
        })
    }

    /// Returns whether the limiter's Redis is the durable one.
    #[must_use]
    pub fn shares_redis_with(&self, durable: &RedisUrl) -> bool {
        self.redis_url.same_database(durable)
    }
}

impl FactorySettings {
    /// Reads all sections, for serving. Exports of tags contain `PUBLIC_BASE_URL`, so it must be set.
    ///
    /// # Errors
    /// As [`Self::from_env`], and if `PUBLIC_BASE_URL` is not set.
    pub fn for_serving(env: &Env) -> Result<Self, EnvError> {
        env.required("PUBLIC_BASE_URL", &base_url())?;
        Self::from_env(env)
    }

    /// Reads all sections, for a command that is not a service.
    ///
    /// # Errors
    /// The first variable that cannot be parsed or that contradicts another, as a one-line message.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let deployment = DeploymentSettings::from_env(env)?;
        let redis = RedisSettings::from_env(env)?;
        let settings = Self {
            web: WebSettings::from_env(env, DEFAULT_BIND)?,
            limits: FactoryLimitSettings::from_env(env, &redis)?,
            redis,
            tags: TagSettings::from_env(env)?,
            signing: SigningSettings::from_env(env, &deployment.audit_origin)?,
            checkpoint_every: env.get("AUDIT_CHECKPOINT_SECS", CHECKPOINT_EVERY, &seconds(1..=86_400))?,
            deployment,
            api_key: env.required_secret("FACTORY_API_KEY", &api_key())?,
            idempotency_lease: env.get("IDEMPOTENCY_LEASE_MS", LEASE, &millis(LEASES_MS))?,
            log: LogSettings::from_env(env, "factory-service")?,
        };
        let length = settings.web.public_base_url.as_ref().map_or(0, String::len);
        if length > LONGEST_BASE_URL {
            return Err(EnvError::Invalid {
                name: "PUBLIC_BASE_URL".to_owned(),
                held: format!("{length} bytes long"),
                why: "it would not fit the tags' QR codes".to_owned(),
                takes: format!("a URL of up to {LONGEST_BASE_URL} bytes"),
            });
        }
        Ok(settings)
    }
}

fn api_key() -> Kind<BootstrapDigest> {
    let takes = format!(
        "{} to {} visible ASCII characters without blanks, e.g. the output of: openssl rand -hex 32",
        KEY_LENGTH.start(),
        KEY_LENGTH.end()
    );
    Kind::new(takes, |text| {
        let good = KEY_LENGTH.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if good { Ok(BootstrapDigest::of(text)) } else { Err(String::new()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use catalog::Init;

    const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn settings(pairs: &[(&str, &str)]) -> Result<FactorySettings, String> {
        let given = pairs.iter().copied();
        let defaults = [("TAG_MASTER_SECRET", SECRET), ("FACTORY_API_KEY", KEY)];
        let env: Env = defaults.into_iter().chain(given).filter(|(_, value)| *value != "(unset)").collect();
        FactorySettings::from_env(&env).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_match_the_contract() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.web.bind.to_string(), "127.0.0.1:8081");
        assert_eq!(settings.web.public_base_url, None);
        assert_eq!(settings.redis.permits.get(), 100);
        assert_eq!(settings.tags.active_epoch.get(), 1);
        let limits = &settings.limits;
        assert_eq!((limits.writes.get(), limits.reads.get(), limits.auth_failures.get()), (600, 6_000, 60));
        assert!(limits.shares_redis_with(&settings.redis.url));
        assert_eq!(settings.deployment.init, Init::Auto);
        assert_eq!(settings.deployment.audit_origin, "voketag.local/audit");
    }

    #[test]
    fn a_key_is_required_and_has_32_characters_or_more() {
        let env: Env = [("TAG_MASTER_SECRET", SECRET)].into_iter().collect();
        let error = FactorySettings::from_env(&env).unwrap_err().to_string();
        assert!(error.contains("FACTORY_API_KEY") && error.contains("32"), "{error}");
        let long = "k".repeat(513);
        for wrong in ["", &KEY[1..], "0123456789abcdef 0123456789abcdef", &"é".repeat(32), &long] {
            let error = settings(&[("FACTORY_API_KEY", wrong)]).unwrap_err();
            assert!(error.starts_with("FACTORY_API_KEY is "), "{error}");
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_key_may_come_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("{KEY}\n")).unwrap();
        let path = file.path().to_str().unwrap();
        let env: Env = [("TAG_MASTER_SECRET", SECRET), ("FACTORY_API_KEY_FILE", path)].into_iter().collect();
        assert!(FactorySettings::from_env(&env).unwrap().api_key.matches(KEY));
        assert!(settings(&[("FACTORY_API_KEY_FILE", path)]).unwrap_err().contains("both set"));
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let shown = format!("{:?}", settings(&[]).unwrap());
        assert!(!shown.contains(KEY) && !shown.contains(SECRET), "{shown}");
    }

    #[test]
    fn only_serving_requires_a_base_url() {
        let all = [("TAG_MASTER_SECRET", SECRET), ("FACTORY_API_KEY", KEY)];
        let error = FactorySettings::for_serving(&all.into_iter().collect()).unwrap_err().to_string();
        assert!(error.starts_with("PUBLIC_BASE_URL is not set; it takes a URL"), "{error}");
        assert!(FactorySettings::from_env(&all.into_iter().collect()).is_ok());
        let set = all.into_iter().chain([("PUBLIC_BASE_URL", "https://tags.example/")]);
        let settings = FactorySettings::for_serving(&set.collect()).unwrap();
        assert_eq!(settings.web.public_base_url.as_deref(), Some("https://tags.example"));
    }

    #[test]
    fn five_times_a_quota_must_be_a_valid_quota() {
        let name = "RATE_LIMIT_FACTORY_WRITES_PER_MINUTE";
        assert_eq!(settings(&[(name, "1600000")]).unwrap().limits.writes.get(), 1_600_000);
        for wrong in ["0", "1600001", "-1", "many"] {
            let error = settings(&[(name, wrong)]).unwrap_err();
            assert!(error.contains(name) && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn a_base_url_that_does_not_fit_a_qr_code_is_rejected() {
        let long = format!("https://example.com/{}", "a".repeat(LONGEST_BASE_URL));
        assert!(settings(&[("PUBLIC_BASE_URL", &long)]).unwrap_err().contains("PUBLIC_BASE_URL"));
    }
}
