//! Single requests to the measured services: to mint, and to read an export to its end.
//! Every response has a time limit, and a length limit unless it is streamed.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::error::BenchError;
use crate::wire::ClientConnection;

const WITHIN: Duration = Duration::from_secs(120);
/// The length limit of a response that is kept.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A request on a separate connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpRequest<'a> {
    method: &'a str,
    path: &'a str,
    key: Option<&'a str>,
    json: Option<&'a str>,
}

impl<'a> HttpRequest<'a> {
    pub(crate) fn get(path: &'a str) -> Self {
        Self { method: "GET", path, key: None, json: None }
    }

    pub(crate) fn post(path: &'a str, json: &'a str) -> Self {
        Self { method: "POST", path, key: None, json: Some(json) }
    }

    /// Adds an API key.
    pub(crate) fn with_key(mut self, key: &'a str) -> Self {
        self.key = Some(key);
        self
    }

    fn render(&self, target: SocketAddr) -> String {
        let mut text =
            format!("{} {} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n", self.method, self.path);
        if let Some(key) = self.key {
            let _ = write!(text, "Authorization: Bearer {key}\r\n");
        }
        if let Some(json) = self.json {
            let _ = write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n", json.len());
        }
        let _ = write!(text, "\r\n{}", self.json.unwrap_or_default());
        text
    }
}

/// A response with its body.
#[derive(Debug, Clone)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl HttpResponse {
    /// Returns the body as JSON. Fails if the status is not `status`.
    pub(crate) fn json(&self, status: u16) -> Result<Value, BenchError> {
        if self.status != status {
            let body = String::from_utf8_lossy(&self.body);
            return Err(BenchError::Unexpected(format!(
                "{status} was expected, not {}: {body}",
                self.status
            )));
        }
        serde_json::from_slice(&self.body).map_err(BenchError::unexpected("an answer that should be JSON"))
    }
}

/// Sends the request and returns the response.
pub(crate) async fn ask(target: SocketAddr, request: HttpRequest<'_>) -> Result<HttpResponse, BenchError> {
    let mut body = Vec::new();
    let status = stream(target, request, |bytes| {
        if body.len() + bytes.len() <= MAX_BODY {
            body.extend_from_slice(bytes);
        }
    })
    .await?;
    Ok(HttpResponse { status, body })
}

/// Sends the request, passes the body on in pieces, and returns the status.
pub(crate) async fn stream(
    target: SocketAddr,
    request: HttpRequest<'_>,
    sink: impl FnMut(&[u8]),
) -> Result<u16, BenchError> {
    let text = request.render(target);
    let exchange = async { ClientConnection::connect(target).await?.exchange(text.as_bytes(), sink).await };
    let what = || format!("{} {} of {target}", request.method, request.path);
    match tokio::time::timeout(WITHIN, exchange).await {
        Ok(outcome) => outcome.map(|head| head.status).map_err(BenchError::io(what())),
        Err(_) => {
            Err(BenchError::Unexpected(format!("{}: not answered within {} s", what(), WITHIN.as_secs())))
        }
    }
}
