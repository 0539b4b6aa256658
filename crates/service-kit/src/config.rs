//! The sections of settings that both services have: see docs/contract.md §9. Only a service's own `config` calls these.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use catalog::Init;
use http_edge::env::{
    Env, EnvError, Kind, base_url, bind_address, choice, millis, non_zero_usize, seconds, switch,
    trusted_proxies, whole,
};
use http_edge::{Listening, MetricsPlace, ServeConfig, TrustedProxies};
use keyring::{KeyNumber, SigningKeys, SigningSeed};
use redis_pool::{RedisUrl, TlsCertificates};
use tag_id::{Epoch, Keyring, MasterSecret};

use crate::state_dir::{StateDir, state_dir};

const TAG_SECRET: &str = "TAG_MASTER_SECRET";
const TAG_EPOCH: &str = "TAG_KEY_EPOCH";
const SIGNING_KEY: &str = "AUDIT_SIGNING_KEY";
/// Shared connections of each pool: two keep one Redis thread busy.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");

/// The highest bound of connections that makes sense.
const MOST_CONNECTIONS: u32 = 1_000_000;

mod serve;

pub use self::serve::Serve;

/// Where the service listens and is found.
#[derive(Debug, Clone)]
pub struct WebSettings {
    /// `BIND_ADDR`.
    pub bind: SocketAddr,
    /// `METRICS_BIND_ADDR`: where `/metrics` is served instead of on `bind`.
    pub metrics_bind: Option<SocketAddr>,
    /// `PUBLIC_BASE_URL`, without a slash at its end: what the URL in a tag's QR code begins with. It has no default: labels would
    /// be printed with it.
    pub public_base_url: Option<String>,
    /// `TRUSTED_PROXIES`.
    pub proxies: TrustedProxies,
    /// `METRICS_PUBLIC`: whether `/metrics` may be served on an address that is not loopback.
    pub metrics_public: bool,
    /// `MAX_CONNECTIONS`.
    pub max_connections: NonZeroUsize,
    /// `MAX_CONNECTIONS_PER_CLIENT`.
    pub max_connections_per_client: NonZeroUsize,
    /// `KEEP_ALIVE_SECS`: how long a connection may idle between requests.
    pub keep_alive: Duration,
}

impl WebSettings {
    /// Reads the section; `default_bind` differs by service.
    ///
    /// # Errors
    /// When a variable cannot be parsed, or both addresses are the same.
    pub fn from_env(env: &Env, default_bind: SocketAddr) -> Result<Self, EnvError> {
        let defaults = ServeConfig::default();
        let settings = Self {
            bind: env.get("BIND_ADDR", default_bind, &bind_address())?,
            metrics_bind: env.optional("METRICS_BIND_ADDR", &bind_address())?,
            public_base_url: env.optional("PUBLIC_BASE_URL", &base_url())?,
            proxies: env.optional("TRUSTED_PROXIES", &trusted_proxies())?.unwrap_or_default(),
            metrics_public: env.get("METRICS_PUBLIC", false, &switch())?,
            max_connections: env.get(
                "MAX_CONNECTIONS",
                defaults.max_connections,
                &non_zero_usize(MOST_CONNECTIONS),
            )?,
            max_connections_per_client: env.get(
                "MAX_CONNECTIONS_PER_CLIENT",
                defaults.max_connections_per_client,
                &non_zero_usize(MOST_CONNECTIONS),
            )?,
            keep_alive: env.get("KEEP_ALIVE_SECS", defaults.idle_timeout, &seconds(1..=3_600))?,
        };
        if settings.bind.port() != 0 && settings.metrics_bind == Some(settings.bind) {
            return Err(EnvError::Contradiction {
                names: "BIND_ADDR and METRICS_BIND_ADDR".to_owned(),
                why: format!(
                    "both are {}; leave the second unset to serve /metrics on the first",
                    settings.bind
                ),
            });
        }
        Ok(settings)
    }

    /// Where the service listens, and its bounds.
    #[must_use]
    pub fn listening(&self) -> Listening {
        let server = ServeConfig {
            max_connections: self.max_connections,
            max_connections_per_client: self.max_connections_per_client,
            proxies: self.proxies.clone(),
            idle_timeout: self.keep_alive,
            ..ServeConfig::default()
        };
        Listening { bind: self.bind, metrics_bind: self.metrics_bind, server }
    }

    /// Where `/metrics` is served: on an address that others may reach only if the operator says so.
    #[must_use]
    pub fn metrics_place(&self) -> MetricsPlace {
        match self.metrics_bind {
            Some(_) => MetricsPlace::Apart,
            None if self.metrics_public || self.bind.ip().to_canonical().is_loopback() => MetricsPlace::Here,
            None => MetricsPlace::Nowhere,
        }
    }
}

/// How the pools behave.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `REDIS_URL[_FILE]`: the durable Redis.
    pub url: RedisUrl,
    /// `REDIS_POOL_SIZE`: concurrent operations per pool.
    pub permits: NonZeroUsize,
    /// `REDIS_POOL_WAIT_MS`.
    pub wait: Duration,
    /// `REDIS_COMMAND_TIMEOUT_MS`.
    pub command_timeout: Duration,
    /// `REDIS_TLS_CERT_FILE`, `REDIS_TLS_KEY_FILE`, `REDIS_TLS_CA_FILE`: for every address that begins with `rediss://`.
    pub certificates: Option<TlsCertificates>,
}

/// The certificates for TLS, if any is set.
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
            let why = "one of the two is set; a client certificate takes both".to_owned();
            return Err(contradiction("REDIS_TLS_CERT_FILE and REDIS_TLS_KEY_FILE", why));
        }
    };
    let parsed = TlsCertificates::from_pem(client, authority.as_deref());
    let names = "REDIS_TLS_CERT_FILE, REDIS_TLS_KEY_FILE and REDIS_TLS_CA_FILE";
    parsed.map(Some).map_err(|error| contradiction(names, format!("they cannot be used: {error}")))
}

impl RedisSettings {
    /// Reads the section.
    ///
    /// # Errors
    /// When a variable cannot be parsed.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let default: RedisUrl = "redis://127.0.0.1:6379".parse().expect("the default is well-formed");
        Ok(Self {
            url: env.partly_secret_or("REDIS_URL", default, &redis_address())?,
            permits: env.get(
                "REDIS_POOL_SIZE",
                NonZeroUsize::new(100).expect("not zero"),
                &non_zero_usize(10_000),
            )?,
            wait: env.get("REDIS_POOL_WAIT_MS", Duration::from_millis(100), &millis(1..=60_000))?,
            command_timeout: env.get(
                "REDIS_COMMAND_TIMEOUT_MS",
                Duration::from_millis(100),
                &millis(1..=60_000),
            )?,
            certificates: tls_certificates(env)?,
        })
    }

    /// The configuration of the durable Redis's second pool, by which a process heartbeats for the keyring and hears of it, however busy
    /// the first one is. Its breaker lets something through after a second: a change of the keyring must be heard within two, also after a
    /// stall, and one question each half second tramples nobody.
    #[must_use]
    pub fn heartbeats(&self) -> redis_pool::Config {
        let one = NonZeroUsize::MIN;
        let open_for = Duration::from_secs(1);
        redis_pool::Config { permits: one, connections: one, open_for, ..self.pool("keyring", &self.url) }
    }

    fn with_certificates(&self, url: &RedisUrl) -> RedisUrl {
        match &self.certificates {
            Some(certificates) => url.clone().with_certificates(certificates),
            None => url.clone(),
        }
    }

    /// The configuration of one pool.
    #[must_use]
    pub fn pool(&self, name: &'static str, url: &RedisUrl) -> redis_pool::Config {
        redis_pool::Config {
            name,
            url: self.with_certificates(url),
            permits: self.permits,
            connections: CONNECTIONS,
            wait: self.wait,
            command_timeout: self.command_timeout,
            open_for: redis_pool::OPEN_FOR,
        }
    }
}

/// A Redis address as a setting, to be read by [`Env::partly_secret`]: its password is never shown.
#[must_use]
pub fn redis_address() -> Kind<RedisUrl> {
    Kind::parsed(RedisUrl::TAKES).shown_as(RedisUrl::to_string).redacted_by(RedisUrl::redacted)
}

/// The tag secrets.
#[derive(Debug, Clone)]
pub struct TagSettings {
    /// `TAG_MASTER_SECRET[_<epoch>][_FILE]`.
    pub keyring: Arc<Keyring>,
    /// `TAG_KEY_EPOCH`: the epoch that is active in a keyring that is made anew. Afterwards it only has to be one whose secret is there.
    pub active_epoch: Epoch,
}

impl TagSettings {
    /// Reads the section.
    ///
    /// # Errors
    /// When a variable cannot be parsed, one has a name that is no epoch's, or the active epoch has no secret.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let epochs = || {
            whole(1..=u64::from(Epoch::MAX.get()))
                .map(|number| {
                    u16::try_from(number).ok().and_then(Epoch::new).expect("the range is that of epochs")
                })
                .shown_as(|epoch| epoch.get().to_string())
        };
        let active_epoch = env.get(TAG_EPOCH, Epoch::MIN, &epochs())?;
        let default = env.secret(TAG_SECRET, &master_secret())?;
        let mut own = Vec::new();
        for epoch in epochs_named(env)? {
            let name = format!("{TAG_SECRET}_{}", epoch.get());
            own.extend(env.secret(&name, &master_secret())?.map(|secret| (epoch, secret)));
        }
        let keyring = Keyring::new(default, own);
        if !keyring.has(active_epoch) {
            let number = active_epoch.get();
            let either = format!(
                "{TAG_SECRET} or {TAG_SECRET}_{number} (or either with _FILE; {TAG_EPOCH} is {number})"
            );
            return Err(EnvError::Missing { name: either, takes: MASTER_SECRET.to_owned() });
        }
        Ok(Self { keyring: Arc::new(keyring), active_epoch })
    }
}

const MASTER_SECRET: &str = "32 random bytes as 64 hex digits, e.g. the output of: openssl rand -hex 32";

fn master_secret() -> Kind<MasterSecret> {
    Kind::new(MASTER_SECRET, |text| MasterSecret::from_hex(text).map_err(|error| error.to_string()))
}

/// The epochs that have a secret of their own, each once.
fn epochs_named(env: &Env) -> Result<Vec<Epoch>, EnvError> {
    Ok(numbers_named(env, TAG_SECRET, "epoch")?.into_iter().map(KeyNumber::epoch).collect())
}

/// The numbers n of all `<stem>_<n>` and `<stem>_<n>_FILE` that are set, each once.
fn numbers_named(env: &Env, stem: &str, what: &str) -> Result<Vec<KeyNumber>, EnvError> {
    let mut numbers = Vec::new();
    for name in env.names_numbered(stem) {
        let suffix = &name[stem.len() + 1..];
        let number = suffix.strip_suffix("_FILE").unwrap_or(suffix);
        if number == "FILE" {
            continue;
        }
        let Ok(number) = number.parse::<KeyNumber>() else {
            return Err(EnvError::Invalid {
                name: name.to_owned(),
                held: "set".to_owned(),
                why: format!("its name ends in no {what}"),
                takes: format!("a name like {stem}_7 or {stem}_7_FILE, numbers 1 to 4095"),
            });
        };
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

/// The secrets that sign the audit chain's checkpoints.
#[derive(Debug, Clone)]
pub struct SigningSettings {
    /// `AUDIT_SIGNING_KEY_<n>[_FILE]`; `AUDIT_SIGNING_KEY[_FILE]` is number 1. May be none.
    pub keys: Arc<SigningKeys>,
}

impl SigningSettings {
    /// Reads the section; the keys sign as `audit_origin`.
    ///
    /// # Errors
    /// When a variable cannot be parsed, has a name that is no key's, or number 1 is given by both of its names; and when there
    /// are keys and the origin cannot stand in a signature.
    pub fn from_env(env: &Env, audit_origin: &str) -> Result<Self, EnvError> {
        let mut seeds: Vec<_> = env
            .secret(SIGNING_KEY, &signing_seed())?
            .map(|seed| (KeyNumber::FIRST, seed))
            .into_iter()
            .collect();
        for number in numbers_named(env, SIGNING_KEY, "key number")? {
            let name = format!("{SIGNING_KEY}_{number}");
            let Some(seed) = env.secret(&name, &signing_seed())? else { continue };
            if seeds.iter().any(|(taken, _)| *taken == number) {
                let why = "both are key number 1; set one of the two".to_owned();
                return Err(EnvError::Contradiction { names: format!("{SIGNING_KEY} and {name}"), why });
            }
            seeds.push((number, seed));
        }
        let keys = SigningKeys::new(audit_origin, seeds).map_err(|_| EnvError::Contradiction {
            names: format!("AUDIT_ORIGIN and {SIGNING_KEY}"),
            why: format!("{audit_origin:?} cannot be the name of a signing key: it holds white space or '+'"),
        })?;
        Ok(Self { keys: Arc::new(keys) })
    }
}

const SIGNING_SEED: &str =
    "32 random bytes (an Ed25519 seed) as 64 hex digits, e.g. the output of: openssl rand -hex 32";

fn signing_seed() -> Kind<SigningSeed> {
    Kind::new(SIGNING_SEED, |text| SigningSeed::from_hex(text).map_err(|error| error.to_string()))
}

/// The deployment and its audit chain.
#[derive(Debug, Clone)]
pub struct DeploymentSettings {
    /// `DEPLOYMENT_INIT`.
    pub init: Init,
    /// `AUDIT_ORIGIN`.
    pub audit_origin: String,
    /// `STATE_DIR`: where the highest audit head that was seen is kept outside Redis.
    pub state_dir: Option<StateDir>,
}

impl DeploymentSettings {
    /// Reads the section.
    ///
    /// # Errors
    /// When a variable cannot be parsed, and when the directory cannot be read and written.
    pub fn from_env(env: &Env) -> Result<Self, EnvError> {
        let inits = choice(&[("auto", Init::Auto), ("never", Init::Never)]);
        Ok(Self {
            init: env.get("DEPLOYMENT_INIT", Init::Auto, &inits)?,
            audit_origin: env.get("AUDIT_ORIGIN", "voketag.local/audit".to_owned(), &origin())?,
            state_dir: env.optional("STATE_DIR", &state_dir())?,
        })
    }
}

/// The chain's name is the name of the keys that sign its checkpoints, too, and is fixed once a deployment was made: one that no
/// signed note can carry would be found out only when a key is to be used.
fn origin() -> Kind<String> {
    let takes = "1 to 200 bytes without white space, '+', control characters or a byte order mark, e.g. acme.example/audit";
    Kind::new(takes, |text| {
        let good = text.len() <= 200 && SigningKeys::can_sign_as(text);
        if good { Ok(text.to_owned()) } else { Err("no signed checkpoint could carry it".to_owned()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn env<const N: usize>(pairs: [(&str, &str); N]) -> Env {
        pairs.into_iter().collect()
    }

    #[test]
    fn the_active_epochs_secret_is_required_and_there_is_no_default() {
        let error = TagSettings::from_env(&env([])).unwrap_err().to_string();
        assert!(error.contains("TAG_MASTER_SECRET") && error.contains("64 hex digits"), "{error}");
        let other = env([("TAG_MASTER_SECRET_2", SECRET)]);
        assert!(TagSettings::from_env(&other).unwrap_err().to_string().contains("TAG_MASTER_SECRET_1"));
        let settings =
            TagSettings::from_env(&env([("TAG_MASTER_SECRET_2", SECRET), ("TAG_KEY_EPOCH", "2")])).unwrap();
        assert_eq!(settings.active_epoch.get(), 2);
        assert!(!settings.keyring.has(Epoch::new(1).unwrap()));
    }

    #[test]
    fn an_epochs_own_secret_comes_before_the_common_one() {
        let common = TagSettings::from_env(&env([("TAG_MASTER_SECRET", SECRET)])).unwrap();
        let other = "ff".repeat(32);
        let own =
            TagSettings::from_env(&env([("TAG_MASTER_SECRET", SECRET), ("TAG_MASTER_SECRET_7", &other)]))
                .unwrap();
        let epoch = |n| Epoch::new(n).unwrap();
        assert_eq!(common.keyring.check_value(epoch(1)), own.keyring.check_value(epoch(1)));
        assert_ne!(common.keyring.check_value(epoch(7)), own.keyring.check_value(epoch(7)));
    }

    #[test]
    fn a_wrong_secret_is_named_and_never_shown() {
        for wrong in ["", "abc", &SECRET[1..], &format!("{SECRET}00")] {
            let error = TagSettings::from_env(&env([("TAG_MASTER_SECRET", wrong)])).unwrap_err().to_string();
            assert!(error.starts_with("TAG_MASTER_SECRET is "), "{error}");
            assert!(wrong.is_empty() || !error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn a_secret_named_after_no_epoch_stops_the_start() {
        for name in
            ["TAG_MASTER_SECRET_0", "TAG_MASTER_SECRET_4096", "TAG_MASTER_SECRET_07", "TAG_MASTER_SECRET_X"]
        {
            let error =
                TagSettings::from_env(&env([("TAG_MASTER_SECRET", SECRET), (name, SECRET)])).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn signing_keys_are_read_by_number_and_none_is_needed() {
        let origin = "voketag.local/audit";
        let numbers =
            |settings: SigningSettings| settings.keys.numbers().map(KeyNumber::get).collect::<Vec<_>>();
        assert!(numbers(SigningSettings::from_env(&env([]), origin).unwrap()).is_empty());
        let both = env([("AUDIT_SIGNING_KEY", SECRET), ("AUDIT_SIGNING_KEY_3", SECRET)]);
        assert_eq!(numbers(SigningSettings::from_env(&both, origin).unwrap()), [1, 3]);
        let file = std::env::temp_dir().join(format!("service-kit-signing-{}", std::process::id()));
        std::fs::write(&file, format!("{SECRET}\n")).unwrap();
        let path = file.to_str().unwrap();
        let files = env([("AUDIT_SIGNING_KEY_FILE", path), ("AUDIT_SIGNING_KEY_2_FILE", path)]);
        assert_eq!(numbers(SigningSettings::from_env(&files, origin).unwrap()), [1, 2]);
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_signing_key_that_is_wrong_or_given_twice_stops_the_start_and_is_not_shown() {
        let origin = "voketag.local/audit";
        for (name, value, says) in [
            ("AUDIT_SIGNING_KEY", &SECRET[1..], "64 hex digits"),
            ("AUDIT_SIGNING_KEY_07", SECRET, "AUDIT_SIGNING_KEY_07"),
            ("AUDIT_SIGNING_KEY_X_FILE", SECRET, "AUDIT_SIGNING_KEY_X_FILE"),
        ] {
            let error = SigningSettings::from_env(&env([(name, value)]), origin).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains(&SECRET[1..]), "{error}");
        }
        let twice = env([("AUDIT_SIGNING_KEY", SECRET), ("AUDIT_SIGNING_KEY_1", SECRET)]);
        let error = SigningSettings::from_env(&twice, origin).unwrap_err().to_string();
        assert!(error.contains("AUDIT_SIGNING_KEY and AUDIT_SIGNING_KEY_1"), "{error}");
        assert!(
            !format!("{:?}", SigningSettings::from_env(&env([("AUDIT_SIGNING_KEY", SECRET)]), origin))
                .contains(SECRET)
        );
    }

    #[test]
    fn an_origin_that_cannot_sign_contradicts_a_signing_key() {
        for origin in ["voketag audit", "a+b", "a\u{a0}b"] {
            assert!(SigningSettings::from_env(&env([]), origin).is_ok(), "without a key any origin will do");
            let error = SigningSettings::from_env(&env([("AUDIT_SIGNING_KEY", SECRET)]), origin).unwrap_err();
            assert!(matches!(error, EnvError::Contradiction { .. }), "{error}");
            assert!(error.to_string().contains("AUDIT_ORIGIN"), "{error}");
        }
    }

    #[test]
    fn an_origin_that_no_note_can_carry_stops_the_start_without_a_signing_key() {
        let long = "a".repeat(201);
        for origin in
            ["voketag audit", " a", "a ", "a+b", "a\u{a0}b", "a\tb", "a\nb", "a\u{7f}b", "\u{feff}a", &long]
        {
            let error =
                DeploymentSettings::from_env(&env([("AUDIT_ORIGIN", origin)])).unwrap_err().to_string();
            assert!(error.starts_with("AUDIT_ORIGIN") && error.contains("acme.example/audit"), "{error}");
            assert!(!error.contains('\n'), "{error:?}");
        }
        for origin in ["voketag.local/audit", "a", "größe.example/prüfung", &"a".repeat(200)] {
            let settings = DeploymentSettings::from_env(&env([("AUDIT_ORIGIN", origin)])).unwrap();
            assert_eq!(settings.audit_origin, origin);
        }
    }

    #[test]
    fn a_state_dir_that_cannot_be_used_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let settings = |path: &std::path::Path| {
            DeploymentSettings::from_env(&env([("STATE_DIR", path.to_str().unwrap())]))
        };
        assert!(settings(&folder.path().join("state")).unwrap().state_dir.is_some());
        assert!(DeploymentSettings::from_env(&env([])).unwrap().state_dir.is_none());
        let error = settings(&file).unwrap_err().to_string();
        assert!(error.contains("STATE_DIR") && error.contains("cannot make the directory"), "{error}");
        assert!(error.contains("/var/lib/voketag"), "{error}");
    }

    #[test]
    fn two_listeners_on_one_address_contradict_each_other() {
        let both = env([("BIND_ADDR", "127.0.0.1:9"), ("METRICS_BIND_ADDR", "127.0.0.1:9")]);
        let error = WebSettings::from_env(&both, "127.0.0.1:8080".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("BIND_ADDR and METRICS_BIND_ADDR"), "{error}");
    }

    #[test]
    fn metrics_are_served_beyond_loopback_only_where_the_operator_says_so() {
        let place = |pairs: &[(&str, &str)]| {
            let env = pairs.iter().copied().collect();
            WebSettings::from_env(&env, "127.0.0.1:8080".parse().unwrap()).unwrap().metrics_place()
        };
        assert_eq!(place(&[]), MetricsPlace::Here);
        for loopback in ["127.0.0.2:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(place(&[("BIND_ADDR", loopback)]), MetricsPlace::Here, "{loopback}");
        }
        for reachable in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            let bind = ("BIND_ADDR", reachable);
            assert_eq!(place(&[bind]), MetricsPlace::Nowhere, "{reachable}");
            assert_eq!(place(&[bind, ("METRICS_PUBLIC", "false")]), MetricsPlace::Nowhere);
            assert_eq!(place(&[bind, ("METRICS_PUBLIC", "true")]), MetricsPlace::Here);
            assert_eq!(place(&[bind, ("METRICS_BIND_ADDR", "0.0.0.0:2")]), MetricsPlace::Apart);
        }
    }

    #[test]
    fn the_bounds_of_connections_have_the_defaults_of_the_contract_and_name_a_wrong_value() {
        let read = |pairs: &[(&str, &str)]| {
            WebSettings::from_env(&pairs.iter().copied().collect(), "127.0.0.1:8080".parse().unwrap())
        };
        let server = read(&[]).unwrap().listening().server;
        assert_eq!(server.max_connections.get(), 10_000);
        assert_eq!(server.max_connections_per_client.get(), 256);
        assert_eq!(server.idle_timeout, Duration::from_secs(75));
        let set = [("MAX_CONNECTIONS", "7"), ("MAX_CONNECTIONS_PER_CLIENT", "3"), ("KEEP_ALIVE_SECS", "600")];
        let server = read(&set).unwrap().listening().server;
        assert_eq!((server.max_connections.get(), server.max_connections_per_client.get()), (7, 3));
        assert_eq!(server.idle_timeout, Duration::from_secs(600));
        for (name, wrong) in set.iter().map(|(name, _)| (*name, "0")).chain([("METRICS_PUBLIC", "maybe")]) {
            let error = read(&[(name, wrong)]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(wrong) && error.contains("takes"), "{error}");
        }
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
    fn a_redis_url_may_come_from_a_file_and_a_wrong_one_is_told_by_the_files_variable() {
        let file = std::env::temp_dir().join(format!("service-kit-redis-url-{}", std::process::id()));
        let from_file = env([("REDIS_URL_FILE", file.to_str().unwrap())]);
        std::fs::write(&file, "redis://:p%40ss@h:7/3\n").unwrap();
        assert_eq!(RedisSettings::from_env(&from_file).unwrap().url.to_string(), "h:7 db 3");
        assert!(from_file.effective().to_string().contains("REDIS_URL=h:7 db 3 (from REDIS_URL_FILE)\n"));
        std::fs::write(&file, "redis://:hun@ter2@h:7/3\n").unwrap();
        let error = RedisSettings::from_env(&from_file).unwrap_err().to_string();
        assert!(error.starts_with("REDIS_URL_FILE is ") && error.contains("percent-encoded"), "{error}");
        assert!(!error.contains("hun") && !error.contains("ter2") && !error.contains('\n'), "{error}");
        std::fs::remove_file(file).unwrap();
    }
}
