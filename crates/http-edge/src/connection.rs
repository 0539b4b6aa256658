//! One HTTP/1.1 connection: hyper passes each request to the app until the client, the drain or a bound ends
//! it.

use crate::connections::Connection;
use crate::host;
use crate::peer::PeerAddr;
use crate::phase::{Handling, Phase};
use crate::serve_config::ServeConfig;
use crate::stream::{BoundedStream, Bounds};
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use bytes::Bytes;
use http::Method;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// The state that all connections share.
#[derive(Clone)]
pub(crate) struct Server {
    app: Router,
    http: http1::Builder,
    bounds: Bounds,
    /// Cancelled when connections must not start another request.
    pub(crate) finish: CancellationToken,
    /// Cancelled when connections must close at once.
    pub(crate) cut: CancellationToken,
}

impl Server {
    pub(crate) fn new(app: Router, config: &ServeConfig) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(None)
            // A client that closes its side after the last request still gets the response.
            .half_close(true)
            .max_header_size(config.max_header_bytes)
            .max_buf_size(config.max_header_bytes.saturating_mul(2).max(32 * 1024));
        let bounds =
            Bounds { idle: config.idle_timeout, head: config.header_timeout, write: config.write_timeout };
        Self { app, http, bounds, finish: CancellationToken::new(), cut: CancellationToken::new() }
    }

    /// Serves one connection. An error of the client ends it.
    pub(crate) async fn connection(self, tcp: TcpStream, peer: SocketAddr, admitted: Connection) {
        let phase = admitted.phase().clone();
        let io = TokioIo::new(BoundedStream::new(tcp, self.bounds, phase.clone()));
        let service = ConnectionService { app: self.app, peer: PeerAddr(peer), phase: phase.clone() };
        let mut connection = pin!(self.http.serve_connection(io, service));
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = self.finish.cancelled() => {}
            // A request that has just arrived still gets its response.
            () = admitted.displaced() => if phase.idle_since().is_some() { return },
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            biased;
            _ = connection => {}
            () = self.cut.cancelled() => {}
        }
    }
}

/// The app as seen by one connection.
struct ConnectionService {
    app: Router,
    peer: PeerAddr,
    phase: Phase,
}

impl hyper::service::Service<Request<Incoming>> for ConnectionService {
    type Response = Response<HeldBody>;
    type Error = Infallible;
    type Future = Handled;

    fn call(&self, mut request: Request<Incoming>) -> Handled {
        let handling = self.phase.begin();
        request.extensions_mut().insert(self.peer);
        let target = host::check_target(request.method(), request.uri());
        if let Err(invalid) = target.and_then(|()| host::check(request.version(), request.headers())) {
            request.extensions_mut().insert(invalid);
        }
        let has_body = request.method() != Method::HEAD;
        let future = self.app.clone().call(request.map(Body::new));
        Handled { future, has_body, handling: Some(handling) }
    }
}

/// The response to one request. Marks the connection as busy until the response is complete.
struct Handled {
    future: RouteFuture<Infallible>,
    /// Whether the response's body is sent. It is not for `HEAD`.
    has_body: bool,
    handling: Option<Handling>,
}

impl Future for Handled {
    type Output = Result<Response<HeldBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.future).poll(cx))?;
        let handling = self.handling.take();
        let has_body = self.has_body;
        Poll::Ready(Ok(response.map(|body| HeldBody::new(body, has_body, handling))))
    }
}

/// A response's body that keeps the connection busy until it is sent, so that a long export is not idle.
struct HeldBody {
    body: Body,
    handling: Option<Handling>,
}

impl HeldBody {
    fn new(body: Body, is_sent: bool, handling: Option<Handling>) -> Self {
        let held = Self { body, handling };
        held.set_incomplete(is_sent && !held.body.is_end_stream());
        held
    }

    fn set_incomplete(&self, incomplete: bool) {
        if let Some(handling) = &self.handling {
            handling.phase().set_response_incomplete(incomplete);
        }
    }
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Err(error)) => tracing::error!(%error, "response cut: its body failed"),
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            Some(Ok(_)) | None => self.set_incomplete(false),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
