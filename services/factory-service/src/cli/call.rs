//! Sends the command line's requests to the service's own routes inside this process, without a network.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ambient::{Clock, SystemClock};
use audit_chain::checkpoint::MAX_NOTE_BYTES;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request, Response};
use futures_util::StreamExt;
use http_edge::App;
use serde_json::{Map, Value};
use storage::{AUDIT_CHAIN, DurableStorage, StateDir};
use tower::ServiceExt;

use crate::handlers::caller::Operator;
use crate::settings::FactorySettings;
use crate::startup::assemble_for_commands;

/// How long a command waits for the durable Redis.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// Pause between two readiness checks.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// The largest answer that is read into memory, in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// One request.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Option<Value>,
    is_list: bool,
}

impl Call {
    pub(crate) fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), body: None, is_list: false }
    }

    /// Returns a request for all pages of a list.
    pub(crate) fn list(path: &str) -> Self {
        Self { is_list: true, ..Self::get(path) }
    }

    pub(crate) fn post(path: &str, body: Option<Value>) -> Self {
        Self { method: Method::POST, path: path.to_owned(), body, is_list: false }
    }

    pub(crate) fn patch(path: &str, body: Option<Value>) -> Self {
        Self { method: Method::PATCH, ..Self::post(path, body) }
    }

    fn request(&self, path: &str) -> Result<Request<Body>, Failure> {
        let mut request = Request::builder().method(&self.method).uri(path).extension(Operator);
        if self.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = self.body.as_ref().map_or_else(Body::empty, |body| Body::from(body.to_string()));
        request
            .body(body)
            .map_err(|_| Failure::Rejected("an argument holds characters that a path cannot hold".to_owned()))
    }
}

/// Returns a JSON object of the members that have a value.
pub(super) fn body<const N: usize>(members: [(&str, Option<Value>); N]) -> Option<Value> {
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Some(Value::Object(given.collect::<Map<_, _>>()))
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Rejected(String),
    #[error("the service is not ready: {0}")]
    NotReady(String),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

/// The service inside this process.
pub(crate) struct Session {
    router: Router,
    storage: DurableStorage,
    clock: Arc<dyn Clock>,
    state_dir: Option<StateDir>,
    _app: App,
}

impl Session {
    /// Assembles the service, waits until it is ready, and runs `command` with it.
    pub(crate) fn run(
        settings: FactorySettings,
        command: impl AsyncFnOnce(&Self) -> Result<ExitCode, Failure>,
    ) -> Result<ExitCode, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|source| Failure::Io { what: "no runtime".to_owned(), source })?;
        runtime.block_on(async {
            let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
            let (app, storage) = assemble_for_commands(&settings, Arc::clone(&clock));
            let state_dir = settings.deployment.state_dir.clone();
            let session = Self { router: app.router.clone(), storage, clock, state_dir, _app: app };
            session.until_ready().await?;
            let ended = command(&session).await;
            session.storage.refresher.keep_state().await;
            ended
        })
    }

    /// Returns the durable storage, for work that is not a request.
    pub(crate) fn storage(&self) -> &DurableStorage {
        &self.storage
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Returns `STATE_DIR`.
    pub(crate) fn state_dir(&self) -> Option<&StateDir> {
        self.state_dir.as_ref()
    }

    /// Waits until the service is ready. A broken end of the audit chain does not count, because commands can
    /// still read the chain and repair it.
    async fn until_ready(&self) -> Result<(), Failure> {
        let deadline = self.clock.monotonic() + READY_WITHIN;
        loop {
            let answer = self.send(Call::get("/v1/ready").request("/v1/ready")?).await;
            if answer.status().is_success() {
                return Ok(());
            }
            let body = read(answer).await?;
            let checks = body["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
            let mut failed = checks.iter().filter(|check| check["ok"] == false).peekable();
            if failed.peek().is_some() && failed.all(|check| check["name"] == AUDIT_CHAIN) {
                return Ok(());
            }
            if self.clock.monotonic() >= deadline {
                return Err(Failure::NotReady(explain(&body)));
            }
            tokio::time::sleep(CHECK_EVERY).await;
        }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        let Ok(answer) = self.router.clone().oneshot(request).await;
        answer
    }

    /// Sends a request and returns the JSON of its 2xx answer. For a list, returns the items of all pages.
    pub(crate) async fn ask(&self, call: &Call) -> Result<Value, Failure> {
        let mut first = self.one(call, &call.path).await?;
        if !call.is_list {
            return Ok(first);
        }
        let mut cursor = first["next_cursor"].take();
        while let Some(after) = cursor.as_str() {
            let join = if call.path.contains('?') { '&' } else { '?' };
            let mut page = self.one(call, &format!("{}{join}cursor={after}", call.path)).await?;
            cursor = page["next_cursor"].take();
            if let (Some(all), Some(more)) = (first["items"].as_array_mut(), page["items"].as_array_mut()) {
                all.append(more);
            }
        }
        Ok(first["items"].take())
    }

    async fn one(&self, call: &Call, path: &str) -> Result<Value, Failure> {
        let answer = self.send(call.request(path)?).await;
        let succeeded = answer.status().is_success();
        let body = read(answer).await?;
        if succeeded {
            return Ok(body);
        }
        if body["preview"].is_object() {
            show(&body["preview"]);
        }
        Err(Failure::Rejected(explain(&body)))
    }

    /// Prints the answer of [`Self::ask`].
    pub(crate) async fn print(&self, call: &Call) -> Result<(), Failure> {
        show(&self.ask(call).await?);
        Ok(())
    }

    /// Writes a streamed answer to a new file, or to standard output.
    pub(crate) async fn save(&self, call: &Call, to: Option<&Path>) -> Result<(), Failure> {
        let answer = self.send(call.request(&call.path)?).await;
        if !answer.status().is_success() {
            return Err(Failure::Rejected(explain(&read(answer).await?)));
        }
        let what = to.map_or_else(|| "standard output".to_owned(), |path| path.display().to_string());
        let failed = |source| Failure::Io { what: what.clone(), source };
        let mut sink: Box<dyn Write> = match to {
            Some(path) => {
                Box::new(OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?)
            }
            None => Box::new(io::stdout().lock()),
        };
        let mut chunks = answer.into_body().into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| failed(io::Error::other(error)))?;
            sink.write_all(&chunk).map_err(failed)?;
        }
        sink.flush().map_err(failed)
    }
}

/// Reads a checkpoint from a file, up to one byte more than the largest note. Bytes that are not UTF-8 become
/// replacement characters, which no note holds.
pub(crate) fn read_note(path: &Path) -> Result<String, Failure> {
    let failed = |source| Failure::Io { what: path.display().to_string(), source };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_NOTE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn read(answer: Response<Body>) -> Result<Value, Failure> {
    let unreadable = |why: String| Failure::Rejected(format!("the answer cannot be read: {why}"));
    let bytes = to_bytes(answer.into_body(), MAX_ANSWER_BYTES)
        .await
        .map_err(|error| unreadable(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))
}

/// Returns a problem document as one line.
fn explain(problem: &Value) -> String {
    let text = |member: &Value| member.as_str().unwrap_or_default().to_owned();
    let mut line = format!("{} ({})", text(&problem["detail"]), text(&problem["error"]));
    if let Some(batches) = problem["preview"]["invalid"]["batches"].as_u64() {
        line.push_str(&format!("; on the command line: --confirm {batches}"));
    }
    for check in problem["checks"].as_array().into_iter().flatten().filter(|check| check["ok"] == false) {
        line.push_str(&format!("; {}: {}", text(&check["name"]), text(&check["detail"])));
    }
    line
}

/// Prints indented JSON. A closed standard output is no error, because the command is done by then.
pub(crate) fn show(value: &Value) {
    drop(writeln!(io::stdout().lock(), "{value:#}"));
}
