//! The programs of the HTTP figures: a private Redis, the factory, two scan services and the baseline, each
//! on a free port. Dropping the fleet stops them all.
//!
//! One scan service has a limit that no client reaches, the other the default limit, which a few addresses
//! reach at once. Both trust `X-Forwarded-For` from this machine, so that one load generator can be many
//! clients.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use access::{ApiKey, KeyRecord, Scope, Scopes, Tenant, TenantId};
use ambient::{Clock, SystemClock, entropy};
use serde_json::json;
use tag_id::{BatchNo, Epoch, MasterSecret, TagId, TagIndex, TagKeys};
use tempfile::TempDir;
use test_support::RedisServer;
use time::OffsetDateTime;

use crate::error::BenchError;
use crate::http::{self, HttpRequest, HttpResponse};
use crate::process::Running;

/// A limit that no run reaches, below the maximum of the limiter.
const NO_LIMIT: &str = "8000000";
/// The limit of a tenant is five times as high.
const NO_FACTORY_LIMIT: &str = "1600000";
const BELIEVED: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.0/8");
const UNLIMITED: [(&str, &str); 3] =
    [BELIEVED, ("RATE_LIMIT_IP_PER_MINUTE", NO_LIMIT), ("RATE_LIMIT_KEY_PER_MINUTE", NO_LIMIT)];
const READY_WITHIN: Duration = Duration::from_secs(30);
const REFRESH_EVERY: Duration = Duration::from_millis(50);

/// A program and its address.
pub(super) struct FleetServer {
    pub(super) address: SocketAddr,
    pub(super) process: Running,
}

/// All programs. The Redis is declared last, so that it stops last.
pub(super) struct Fleet {
    pub(super) factory: FleetServer,
    pub(super) scan: FleetServer,
    pub(super) limited_scan: FleetServer,
    pub(super) redis: RedisServer,
    pub(super) tag_keys: TagKeys,
    key: String,
    /// The settings of every service.
    common: [(&'static str, String); 2],
    programs: PathBuf,
    dir: TempDir,
}

/// A minted batch.
pub(super) struct FleetBatch {
    pub(super) id: String,
    pub(super) number: BatchNo,
}

impl Fleet {
    /// Starts all programs but the baseline, which needs the length of a scan's response.
    ///
    /// # Errors
    /// Fails if a program is not built, or does not become ready.
    pub(super) async fn start() -> Result<Self, BenchError> {
        Self::start_from(&own_directory()?).await
    }

    /// Starts the services in `programs` instead, e.g. those of another revision.
    ///
    /// # Errors
    /// Fails as [`Self::start`] does.
    pub(super) async fn start_from(programs: &Path) -> Result<Self, BenchError> {
        let redis = RedisServer::start().await;
        let dir = tempfile::tempdir().map_err(BenchError::io("cannot make a directory"))?;
        let secret = entropy::random_bytes::<32>();
        let (secret_hex, key) = (hex(&secret), hex(&entropy::random_bytes::<32>()));
        let url = redis.url();
        let settings = [("REDIS_URL", url), ("TAG_MASTER_SECRET", secret_hex)];
        let common = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        let start =
            |name, env: &[(&str, &str)]| start_service(programs, name, &[&common, env].concat(), dir.path());
        let mut factory = start(
            "factory-service",
            &[
                ("FACTORY_API_KEY", key.as_str()),
                ("PUBLIC_BASE_URL", "http://127.0.0.1:8080"),
                ("RATE_LIMIT_FACTORY_WRITES_PER_MINUTE", NO_FACTORY_LIMIT),
                ("RATE_LIMIT_FACTORY_READS_PER_MINUTE", NO_FACTORY_LIMIT),
            ],
        )?;
        // The factory creates the deployment that the others need.
        factory.ready().await?;
        let mut scan = start("scan-service", &UNLIMITED)?;
        let mut limited_scan = start("scan-service", &[BELIEVED, ("REGION", "limited")])?;
        scan.ready().await?;
        limited_scan.ready().await?;
        let tag_keys = TagKeys::new(Some(MasterSecret::from(secret)), []);
        let programs = programs.to_owned();
        Ok(Self { factory, scan, limited_scan, redis, tag_keys, key, common: settings, programs, dir })
    }

    /// Starts another unlimited scan service, which exports that part of its traces to `endpoint`.
    ///
    /// # Errors
    /// Fails as [`Self::start`] does.
    pub(super) async fn start_traced(&self, endpoint: &str, part: &str) -> Result<FleetServer, BenchError> {
        let traces = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", part),
        ];
        let common = self.common.each_ref().map(|(name, value)| (*name, value.as_str()));
        let env = [&common[..], &UNLIMITED, &traces].concat();
        let mut server = start_service(&self.programs, "scan-service", &env, self.dir.path())?;
        server.ready().await?;
        Ok(server)
    }

    /// Starts the baseline on the same Redis, with responses of that many bytes.
    ///
    /// # Errors
    /// Fails as [`Self::start`] does.
    pub(super) async fn start_baseline(&self, body_bytes: usize) -> Result<FleetServer, BenchError> {
        let program = std::env::current_exe().map_err(BenchError::io("cannot find this program"))?;
        let address = free_address()?;
        let (bind, bytes, url) = (address.to_string(), body_bytes.to_string(), self.redis.url());
        let args = ["baseline", "--bind", &bind, "--redis", &url, "--body-bytes", &bytes];
        let process = Running::start("baseline", &program, &args, &[], self.dir.path())?;
        let mut server = FleetServer { address, process };
        server.answers("/ping").await?;
        Ok(server)
    }

    /// Mints a batch of a new product.
    ///
    /// # Errors
    /// Fails if the factory rejects a request.
    pub(super) async fn mint(&self, size: u32) -> Result<FleetBatch, BenchError> {
        let product = json!({ "name": "Bench", "brand": "VokeTag" }).to_string();
        let product = self.post("/v1/products", &product).await?.json(201)?;
        let order = json!({ "product_id": product["id"], "size": size }).to_string();
        let batch = self.post("/v1/batches", &order).await?.json(201)?;
        let id =
            batch["id"].as_str().ok_or_else(|| BenchError::Unexpected("a batch without an id".to_owned()))?;
        let first = self.export(id, 0, 1).await?;
        let opened = first.first().and_then(|text| self.tag_keys.open(&TagId::parse(text).ok()?));
        let opened =
            opened.ok_or_else(|| BenchError::Unexpected("an exported tag is not authentic".to_owned()))?;
        Ok(FleetBatch { id: id.to_owned(), number: opened.batch })
    }

    /// Stores a partner key as the factory does. Its tenant is not the default one, so scans also read its
    /// state.
    ///
    /// # Errors
    /// Fails if Redis rejects a command.
    pub(super) async fn partner_key(&self) -> Result<ApiKey, BenchError> {
        let now = i64::try_from(SystemClock::new().unix_millis() / 1_000).unwrap_or_default();
        let created_at = OffsetDateTime::from_unix_timestamp(now).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let id: TenantId = "bench".parse().map_err(BenchError::unexpected("a tenant's id"))?;
        let tenant = Tenant::new(id.clone(), None, created_at);
        let key = ApiKey::generate();
        let record = KeyRecord {
            id: *key.id(),
            tenant: id.clone(),
            digest: *key.digest(),
            scopes: Scopes::from([Scope::ScanPartner]),
            label: None,
            created_at,
            created_by: "bench".to_owned(),
            expires_at: None,
            revoked: None,
            rotated: None,
            replaces: None,
        };
        let mut both = redis::cmd("MSET");
        both.arg(access::keys::tenant(&id)).arg(tenant.encode(1));
        both.arg(access::keys::key(key.id())).arg(record.encode(1));
        let stored = both.exec_async(&mut self.redis.connection().await).await;
        stored.map_err(BenchError::unexpected("storing a partner's key"))?;
        Ok(key)
    }

    /// Returns tags of a batch from the factory's export.
    ///
    /// # Errors
    /// Fails if the factory rejects the request, or exports another number of tags.
    pub(super) async fn export(&self, batch: &str, from: u32, limit: u32) -> Result<Vec<String>, BenchError> {
        let path = format!("/v1/batches/{batch}/tags?format=ndjson&from={from}&limit={limit}");
        let answer = http::ask(self.factory.address, HttpRequest::get(&path).with_key(&self.key)).await?;
        let text = String::from_utf8_lossy(&answer.body);
        let tag_of = |line: &str| {
            Some(serde_json::from_str::<serde_json::Value>(line).ok()?["tag_id"].as_str()?.to_owned())
        };
        let tags: Vec<String> = text.lines().filter_map(tag_of).collect();
        if answer.status != 200 || tags.len() != limit as usize {
            return Err(BenchError::Unexpected(format!(
                "{path}: status {}, {} tags",
                answer.status,
                tags.len()
            )));
        }
        Ok(tags)
    }

    /// Reads an export of `limit` tags to its end, and returns the number of rows.
    ///
    /// # Errors
    /// Fails if the factory rejects the request, or if the connection fails.
    pub(super) async fn stream_export(&self, batch: &str, limit: u32) -> Result<u64, BenchError> {
        let path = format!("/v1/batches/{batch}/tags?format=ndjson&limit={limit}");
        let mut rows = 0;
        let request = HttpRequest::get(&path).with_key(&self.key);
        let count = |bytes: &[u8]| rows += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let status = http::stream(self.factory.address, request, count).await?;
        if status != 200 {
            return Err(BenchError::Unexpected(format!("{path}: status {status}")));
        }
        Ok(rows)
    }

    /// Mints a tag of a batch in this process with the factory's secret.
    pub(super) fn tag(&self, batch: &FleetBatch, index: u32) -> String {
        let index = TagIndex::new(index).expect("an index below 2^24");
        let tag = self.tag_keys.mint(Epoch::MIN, batch.number, index).expect("the secret serves every epoch");
        tag.to_string()
    }

    async fn post(&self, path: &str, json: &str) -> Result<HttpResponse, BenchError> {
        http::ask(self.factory.address, HttpRequest::post(path, json).with_key(&self.key)).await
    }
}

impl FleetServer {
    async fn ready(&mut self) -> Result<(), BenchError> {
        self.answers("/v1/ready").await
    }

    /// Waits until `path` returns 200.
    async fn answers(&mut self, path: &str) -> Result<(), BenchError> {
        let clock = SystemClock::new();
        let mut said = String::new();
        while clock.monotonic() < READY_WITHIN {
            self.process.still_runs()?;
            match http::ask(self.address, HttpRequest::get(path)).await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => said = String::from_utf8_lossy(&answer.body).into_owned(),
                Err(error) => said = error.to_string(),
            }
            tokio::time::sleep(REFRESH_EVERY).await;
        }
        let (address, seconds) = (self.address, READY_WITHIN.as_secs());
        Err(BenchError::Unexpected(format!("{address}{path} was not 200 within {seconds} s: {said}")))
    }
}

fn start_service(
    programs: &Path,
    name: &'static str,
    env: &[(&str, &str)],
    dir: &Path,
) -> Result<FleetServer, BenchError> {
    let address = free_address()?;
    let bind = address.to_string();
    let env = [env, &[("BIND_ADDR", bind.as_str())]].concat();
    let process = Running::start(name, &program_in(programs, name)?, &["serve"], &env, dir)?;
    Ok(FleetServer { address, process })
}

/// Returns the directory of this program, which also has the services of the same build.
fn own_directory() -> Result<PathBuf, BenchError> {
    let own = std::env::current_exe().map_err(BenchError::io("cannot find this program"))?;
    Ok(own.parent().map_or_else(PathBuf::new, Path::to_owned))
}

/// Returns the path of a program in `directory`.
pub(super) fn program_in(directory: &Path, name: &str) -> Result<PathBuf, BenchError> {
    let program = directory.join(name);
    if program.is_file() {
        return Ok(program);
    }
    let path = program.display();
    let how = "cargo build --release --bin scan-service --bin factory-service --bin bench";
    Err(BenchError::Usage(format!("{path} is missing; build all three first: {how}")))
}

/// Returns a free address of this machine.
fn free_address() -> Result<SocketAddr, BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(BenchError::io("no free port"))?;
    listener.local_addr().map_err(BenchError::io("no free port"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
