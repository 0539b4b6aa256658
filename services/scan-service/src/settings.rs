//! The settings of scan-service, which it reads from the environment once, at its start. docs/contract.md §9
//! documents the variables.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rate_limiter::{ColdStart, Factor, OnRedisDown, Quota, Region};
use redis_pool::RedisUrl;
use settings::LogSettings;
use settings::{DeploymentSettings, RedisSettings, TagSettings, WebSettings, redis_address};
use settings::{Env, EnvError, Kind, choice, factor, per_minute, quota, seconds};

use crate::origin::{WebOrigin, web_origins};

/// The default of `BIND_ADDR`.
const DEFAULT_BIND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// All settings of the service.
#[derive(Debug, Clone)]
pub struct ScanSettings {
    /// `BIND_ADDR`, `METRICS_BIND_ADDR`, `PUBLIC_BASE_URL`, `TRUSTED_PROXIES`.
    pub web: WebSettings,
    /// `REDIS_URL`, `REDIS_POOL_SIZE`, `REDIS_POOL_WAIT_MS`, `REDIS_COMMAND_TIMEOUT_MS`.
    pub redis: RedisSettings,
    /// `PUBLIC_BASE_URL`, `REPORT_CORS_ORIGINS`.
    pub origins: OriginSettings,
    /// The settings of the rate limits.
    pub limits: ScanLimitSettings,
    /// `TAG_MASTER_SECRET…`, `TAG_KEY_EPOCH`.
    pub tags: TagSettings,
    /// `AUDIT_ORIGIN`. This service does not use `DEPLOYMENT_INIT`, because it never creates a deployment.
    pub deployment: DeploymentSettings,
    /// `LOG_FORMAT`, `RUST_LOG`.
    pub log: LogSettings,
}

/// The rate limits of callers.
#[derive(Debug, Clone)]
pub struct ScanLimitSettings {
    /// `RATE_LIMIT_REDIS_URL[_FILE]`: the limiter's Redis, by default the durable one.
    pub redis_url: RedisUrl,
    /// `GLOBAL_REDIS_URL[_FILE]`: the Redis of the global limit. If it is unset, there is no global limit.
    pub global_redis_url: Option<RedisUrl>,
    /// `REGION`.
    pub region: Region,
    /// `RATE_LIMIT_IP_PER_MINUTE`.
    pub per_ip: Quota,
    /// `RATE_LIMIT_KEY_PER_MINUTE`: the quota of a verified partner key, which replaces that of its address.
    pub per_key: Quota,
    /// `COLD_START_SECS`, `COLD_START_FACTOR`.
    pub cold_start: ColdStart,
    /// `RATE_LIMIT_ON_REDIS_DOWN`.
    pub on_redis_down: OnRedisDown,
}

impl ScanSettings {
    /// Reads all sections.
    ///
    /// # Errors
    /// Returns the first variable that cannot be parsed or that contradicts another, in one line.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let web = WebSettings::from_env(env, DEFAULT_BIND)?;
        let redis = RedisSettings::from_env(env)?;
        Ok(Self {
            origins: OriginSettings::from_env(env, &web)?,
            web,
            limits: ScanLimitSettings::from_env(env, &redis)?,
            redis,
            tags: TagSettings::from_env(env)?,
            deployment: DeploymentSettings::from_env(env)?,
            log: LogSettings::from_env(env, "scan-service")?,
        })
    }
}

/// The origins of web pages that may send reports.
#[derive(Debug, Clone)]
pub struct OriginSettings {
    /// The origin of `PUBLIC_BASE_URL`, if it is set: that of our own pages, whatever `Host` a proxy
    /// forwards.
    pub own: Option<WebOrigin>,
    /// `REPORT_CORS_ORIGINS`: pages of other origins that may send `POST /v1/report`.
    pub reporting: Vec<WebOrigin>,
}

impl OriginSettings {
    fn from_env(env: &Env, web: &WebSettings) -> Result<Self, EnvError> {
        Ok(Self {
            own: web.public_base_url.as_deref().and_then(WebOrigin::of_url),
            reporting: env.optional("REPORT_CORS_ORIGINS", &web_origins())?.unwrap_or_default(),
        })
    }
}

impl ScanLimitSettings {
    fn from_env(env: &Env, redis: &RedisSettings) -> Result<Self, EnvError> {
        let period = env.get(
            "COLD_START_SECS",
            Duration::from_secs(300),
            &seconds(0..=ColdStart::MAX_PERIOD.as_secs()),
        )?;
        let share = env.get("COLD_START_FACTOR", 0.5, &factor())?;
        let share = Factor::new(share).expect("the setting's range is within the factor's");
        let default_region = Region::new("default").expect("the default is well-formed");
        let settings = Self {
            redis_url: env.partly_secret_or("RATE_LIMIT_REDIS_URL", redis.url.clone(), &redis_address())?,
            global_redis_url: env.partly_secret("GLOBAL_REDIS_URL", &redis_address())?,
            region: env.get("REGION", default_region, &region())?,
            per_ip: env.get("RATE_LIMIT_IP_PER_MINUTE", per_minute(100), &quota(Quota::MAX))?,
            per_key: env.get("RATE_LIMIT_KEY_PER_MINUTE", per_minute(1_000), &quota(Quota::MAX))?,
            cold_start: ColdStart::new(period, share)
                .expect("the setting's range is within the cold start's"),
            on_redis_down: env.get(
                "RATE_LIMIT_ON_REDIS_DOWN",
                OnRedisDown::Closed,
                &choice(&[("closed", OnRedisDown::Closed), ("local", OnRedisDown::Local)]),
            )?,
        };
        settings.check_global_redis(redis)?;
        Ok(settings)
    }

    /// Checks that the global limit has its own Redis. All regions share that limit, and it must survive the
    /// loss of a region.
    fn check_global_redis(&self, redis: &RedisSettings) -> Result<(), EnvError> {
        let Some(global) = &self.global_redis_url else { return Ok(()) };
        for (name, other) in [("REDIS_URL", &redis.url), ("RATE_LIMIT_REDIS_URL", &self.redis_url)] {
            if global.same_database(other) {
                return Err(EnvError::Contradiction {
                    names: format!("GLOBAL_REDIS_URL and {name}"),
                    why: "both name the same database; the global limit needs a separate Redis".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Whether limit and scan can be one call.
    #[must_use]
    pub fn shares_redis_with(&self, durable: &RedisUrl) -> bool {
        self.redis_url.same_database(durable)
    }
}

fn region() -> Kind<Region> {
    Kind::new("1 to 64 of the characters A-Z a-z 0-9 . _ -", |text| {
        Region::new(text).map_err(|_| String::new())
    })
    .shown_as(|region| region.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: (&str, &str) =
        ("TAG_MASTER_SECRET", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");

    fn settings(pairs: &[(&str, &str)]) -> Result<ScanSettings, String> {
        let env: Env = pairs.iter().copied().chain([SECRET]).collect();
        ScanSettings::from_env(&env).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.web.bind.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.redis.permits.get(), 100);
        assert_eq!(settings.redis.wait, Duration::from_millis(100));
        assert_eq!(settings.redis.command_timeout, Duration::from_millis(100));
        assert_eq!(settings.limits.per_ip.get(), 100);
        assert_eq!(settings.limits.per_key.get(), 1_000);
        assert_eq!(settings.limits.cold_start.period(), Duration::from_secs(300));
        assert_eq!(settings.limits.on_redis_down, OnRedisDown::Closed);
        assert!(settings.limits.shares_redis_with(&settings.redis.url));
        assert!(settings.limits.global_redis_url.is_none());
        assert!(settings.origins.own.is_none() && settings.origins.reporting.is_empty());
    }

    #[test]
    fn the_global_limit_needs_a_separate_database() {
        let third = ("GLOBAL_REDIS_URL", "redis://127.0.0.1:6381");
        let apart = ("RATE_LIMIT_REDIS_URL", "redis://127.0.0.1:6380");
        assert!(settings(&[third, apart]).is_ok() && settings(&[third]).is_ok());
        for (pairs, other) in [
            (&[("GLOBAL_REDIS_URL", "redis://127.0.0.1:6379")][..], "REDIS_URL"),
            (&[("GLOBAL_REDIS_URL", "redis://127.0.0.1:6379/0"), apart], "REDIS_URL"),
            (&[("GLOBAL_REDIS_URL", "redis://127.0.0.1:6380"), apart], "RATE_LIMIT_REDIS_URL"),
        ] {
            let error = settings(pairs).unwrap_err();
            assert!(error.contains(&format!("GLOBAL_REDIS_URL and {other}")), "{error}");
        }
        let another = ("GLOBAL_REDIS_URL", "redis://127.0.0.1:6379/1");
        assert!(settings(&[another]).is_ok(), "another database of one server");
    }

    #[test]
    fn the_error_of_a_wrong_value_names_the_variable_its_value_and_what_it_takes() {
        for (name, wrong) in [
            ("RATE_LIMIT_IP_PER_MINUTE", "0"),
            ("RATE_LIMIT_KEY_PER_MINUTE", "-1"),
            ("COLD_START_FACTOR", "1.5"),
            ("COLD_START_SECS", "5m"),
            ("REGION", "a b"),
            ("RATE_LIMIT_ON_REDIS_DOWN", "open"),
            ("REDIS_POOL_SIZE", "0"),
            ("BIND_ADDR", "8080"),
            ("TRUSTED_PROXIES", "0.0.0.0/0"),
            ("DEPLOYMENT_INIT", "yes"),
            ("GLOBAL_REDIS_URL", "http://h"),
            ("LOG_FORMAT", "xml"),
            ("REPORT_CORS_ORIGINS", "*"),
            ("REPORT_CORS_ORIGINS", "null"),
            ("REPORT_CORS_ORIGINS", "https://a.example/"),
            ("REPORT_CORS_ORIGINS", "https://a.example,b.example"),
            ("PUBLIC_BASE_URL", "tags.example"),
        ] {
            let error = settings(&[(name, wrong)]).unwrap_err();
            assert!(error.contains(name) && error.contains(wrong) && error.contains("takes"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
