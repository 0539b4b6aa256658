//! A receiver of traces: OTLP over HTTP, as protobuf.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// One span as it arrived. Ids are hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedSpan {
    /// The `service.name` of the process.
    pub service: String,
    /// The name.
    pub name: String,
    /// The id of the trace.
    pub trace: String,
    /// The id of the span.
    pub id: String,
    /// The id of the parent, empty without one.
    pub parent: String,
    /// The ids of the linked spans.
    pub links: Vec<String>,
    /// The attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// Whether the status is an error.
    pub is_error: bool,
}

/// A receiver on a free port. Dropping it closes the port and all connections.
#[derive(Debug)]
pub struct OtlpReceiver {
    addr: SocketAddr,
    received: Arc<Mutex<Vec<ReceivedSpan>>>,
    accepting: AbortHandle,
}

impl Drop for OtlpReceiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl OtlpReceiver {
    /// Starts a receiver that takes every export.
    pub async fn start() -> Self {
        Self::start_that(Answer::Take).await
    }

    /// Starts a receiver that reads every export and never responds.
    pub async fn start_hanging() -> Self {
        Self::start_that(Answer::Never).await
    }

    /// Starts a receiver that takes every export and remembers none, for spans without end.
    pub async fn start_forgetful() -> Self {
        Self::start_that(Answer::Forget).await
    }

    /// Starts a receiver that rejects every export with 503.
    pub async fn start_rejecting() -> Self {
        Self::start_that(Answer::Reject).await
    }

    async fn start_that(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (addr, received) = (listener.local_addr().expect("it listens"), Arc::<Mutex<Vec<_>>>::default());
        let store = Arc::clone(&received);
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, answer, Arc::clone(&store)));
            }
        });
        Self { addr, received, accepting: accepting.abort_handle() }
    }

    /// Returns the value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the spans that have arrived.
    #[must_use]
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.received.lock().clone()
    }

    /// Waits for a span that `wanted` accepts.
    ///
    /// # Panics
    /// If none arrives within 30 s.
    pub async fn span(&self, what: &str, wanted: impl Fn(&ReceivedSpan) -> bool) -> ReceivedSpan {
        let arrived = async || self.spans().iter().any(&wanted);
        crate::eventually(what, Duration::from_secs(30), arrived).await;
        self.spans().into_iter().find(wanted).expect("it has arrived")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Take,
    Forget,
    Reject,
    Never,
}

/// Serves one connection until it breaks.
async fn serve(stream: TcpStream, answer: Answer, received: Arc<Mutex<Vec<ReceivedSpan>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(body) = read_request(&mut stream).await {
        let status = match answer {
            Answer::Never => std::future::pending().await,
            Answer::Forget => "200 OK",
            Answer::Reject => "503 Service Unavailable",
            Answer::Take => {
                let export = ExportTraceServiceRequest::decode(&body[..]).expect("an export is protobuf");
                received.lock().extend(spans_of(&export));
                "200 OK"
            }
        };
        let response =
            format!("HTTP/1.1 {status}\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Returns the body of the next request, which has a length.
async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    let mut first = String::new();
    stream.read_line(&mut first).await.ok().filter(|read| *read > 0)?;
    assert!(first.starts_with("POST /v1/traces "), "{first}");
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        } else if name.eq_ignore_ascii_case("content-type") {
            assert_eq!(value.trim(), "application/x-protobuf");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

fn spans_of(export: &ExportTraceServiceRequest) -> Vec<ReceivedSpan> {
    let mut spans = Vec::new();
    for of_process in &export.resource_spans {
        let resource = of_process.resource.as_ref().map(|resource| attributes_of(&resource.attributes));
        let service = resource.and_then(|mut all| all.remove("service.name")).unwrap_or_default();
        for scope in &of_process.scope_spans {
            spans.extend(scope.spans.iter().map(|span| received(service.clone(), span)));
        }
    }
    spans
}

fn received(service: String, span: &Span) -> ReceivedSpan {
    const ERROR: i32 = 2;
    ReceivedSpan {
        service,
        name: span.name.clone(),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
        attributes: attributes_of(&span.attributes),
        is_error: span.status.as_ref().is_some_and(|status| status.code == ERROR),
    }
}

fn attributes_of(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    attributes.iter().map(|one| (one.key.clone(), text_of(one.value.as_ref()))).collect()
}

fn text_of(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
