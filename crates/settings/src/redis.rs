//! The durable Redis, the bounds of every pool, and the certificates of the connections.

use std::num::NonZeroUsize;
use std::time::Duration;

use redis_pool::{RedisUrl, TlsCertificates};

use crate::{Env, EnvError, Kind, millis, non_zero_usize};

/// Connections of each pool. Two keep one Redis thread busy.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");
const POOL_SIZE: NonZeroUsize = NonZeroUsize::new(100).expect("not zero");
/// The default of the wait for a permit and of the command timeout.
const TIMEOUT: Duration = Duration::from_millis(100);

/// The durable Redis and the bounds of every pool.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `REDIS_URL[_FILE]`: the durable Redis.
    pub url: RedisUrl,
    /// `REDIS_POOL_SIZE`: concurrent operations per pool.
    pub permits: NonZeroUsize,
    /// `REDIS_POOL_WAIT_MS`: how long an operation waits for a permit.
    pub wait: Duration,
    /// `REDIS_COMMAND_TIMEOUT_MS`: how long an operation may take once it has a permit.
    pub command_timeout: Duration,
    /// `REDIS_TLS_CERT_FILE`, `REDIS_TLS_KEY_FILE`, `REDIS_TLS_CA_FILE`: used for every `rediss://` address.
    pub certificates: Option<TlsCertificates>,
}

impl RedisSettings {
    /// Reads the section.
    ///
    /// # Errors
    /// Fails if a variable cannot be parsed, or if the certificates cannot be used.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let default: RedisUrl = "redis://127.0.0.1:6379".parse().expect("the default is well-formed");
        Ok(Self {
            url: env.partly_secret_or("REDIS_URL", default, &redis_address())?,
            permits: env.get("REDIS_POOL_SIZE", POOL_SIZE, &non_zero_usize(10_000))?,
            wait: env.get("REDIS_POOL_WAIT_MS", TIMEOUT, &millis(1..=60_000))?,
            command_timeout: env.get("REDIS_COMMAND_TIMEOUT_MS", TIMEOUT, &millis(1..=60_000))?,
            certificates: tls_certificates(env)?,
        })
    }

    /// Returns the configuration of a second pool for the durable Redis. On it a process sends heartbeats and
    /// polls the keyring, even while the first pool has no free permit. Its breaker admits a probe after one
    /// second, because a change of the keyring must arrive within two. Two calls per second do not load a
    /// Redis that recovers.
    #[must_use]
    pub fn heartbeats(&self) -> redis_pool::PoolConfig {
        let one = NonZeroUsize::MIN;
        let open_for = Duration::from_secs(1);
        redis_pool::PoolConfig { permits: one, connections: one, open_for, ..self.pool("keyring", &self.url) }
    }

    /// Returns the configuration of the pool `name` at `url`.
    #[must_use]
    pub fn pool(&self, name: &'static str, url: &RedisUrl) -> redis_pool::PoolConfig {
        redis_pool::PoolConfig {
            name,
            url: self.with_certificates(url),
            permits: self.permits,
            connections: CONNECTIONS,
            wait: self.wait,
            command_timeout: self.command_timeout,
            open_for: redis_pool::OPEN_FOR,
        }
    }

    fn with_certificates(&self, url: &RedisUrl) -> RedisUrl {
        match &self.certificates {
            Some(certificates) => url.clone().with_certificates(certificates),
            None => url.clone(),
        }
    }
}

/// Takes a Redis address. Read it with [`Env::partly_secret`]; its password is never shown.
#[must_use]
pub fn redis_address() -> Kind<RedisUrl> {
    Kind::parsed(RedisUrl::TAKES).shown_as(RedisUrl::to_string).redacted_by(RedisUrl::redacted)
}

fn tls_certificates(env: &Env) -> Result<Option<TlsCertificates>, EnvError> {
    let pem = || Kind::new("PEM text, or the name of a file that holds it", |text: &str| Ok(text.to_owned()));
    let certificate = env.secret("REDIS_TLS_CERT", &pem())?;
    let key = env.secret("REDIS_TLS_KEY", &pem())?;
    let authority = env.secret("REDIS_TLS_CA", &pem())?;
    let contradiction = |names: &str, why: String| EnvError::Contradiction { names: names.to_owned(), why };
    let client = match (&certificate, &key) {
        (Some(certificate), Some(key)) => Some((certificate.as_str(), key.as_str())),
        (None, None) if authority.is_none() => return Ok(None),
        (None, None) => None,
        _ => {
            let why = "one of the two is set; a client certificate needs both".to_owned();
            return Err(contradiction("REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE", why));
        }
    };
    let parsed = TlsCertificates::from_pem(client, authority.as_deref());
    let names = "REDIS_TLS_CERT_FILE, REDIS_TLS_KEY_FILE and REDIS_TLS_CA_FILE";
    parsed.map(Some).map_err(|error| contradiction(names, format!("they cannot be used: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<const N: usize>(pairs: [(&str, &str); N]) -> Env {
        pairs.into_iter().collect()
    }

    #[test]
    fn a_redis_password_is_not_shown() {
        let error =
            RedisSettings::from_env(&env([("REDIS_URL", "redis://:hunter2@h:x")])).unwrap_err().to_string();
        assert!(error.contains("REDIS_URL") && !error.contains("hunter2"), "{error}");
        assert!(error.contains("its port is no number"), "{error}");
        for url in ["redis://u:hunter2@h:1/2", "redis+unix:///run/s?user=u&pass=hunter2"] {
            let env = env([("REDIS_URL", url)]);
            let settings = RedisSettings::from_env(&env).unwrap();
            let shown = format!("{settings:?} {:?} {}", settings.heartbeats(), env.effective());
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_redis_url_may_come_from_a_file_and_the_error_names_the_variable_of_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let from_file = env([("REDIS_URL_FILE", file.path().to_str().unwrap())]);
        std::fs::write(file.path(), "redis://:p%40ss@h:7/3\n").unwrap();
        assert_eq!(RedisSettings::from_env(&from_file).unwrap().url.to_string(), "h:7 db 3");
        assert!(from_file.effective().to_string().contains("REDIS_URL=h:7 db 3 (from REDIS_URL_FILE)\n"));
        std::fs::write(file.path(), "redis://:hun@ter2@h:7/3\n").unwrap();
        let error = RedisSettings::from_env(&from_file).unwrap_err().to_string();
        assert!(error.starts_with("REDIS_URL_FILE is ") && error.contains("percent-encoded"), "{error}");
        assert!(!error.contains("hun") && !error.contains("ter2") && !error.contains('\n'), "{error}");
    }
}
