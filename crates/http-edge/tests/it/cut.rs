//! Every client notices a cut response, also with HTTP/1.0, where a body without a length ends with the
//! connection.

use crate::app::{App, SHORT, endless, routes, within};
use axum::body::Body;
use axum::routing::get;
use http_edge::{EdgeConfig, ServeConfig};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;

/// `/fails` and `/sized` fail after two pieces, `/endless` never ends, and `/whole` completes.
async fn app(config: ServeConfig) -> App {
    let pieces = |completes: bool| {
        let pieces = move |n| match n {
            0 | 1 => Some((Ok("piece"), n + 1)),
            2 if !completes => Some((Err(io::Error::other("the data store is unavailable")), 3)),
            _ => None,
        };
        futures_util::stream::unfold(0, move |n| async move {
            tokio::task::yield_now().await;
            pieces(n)
        })
    };
    let endless_body = || endless(&[b'x'; 1_024], oneshot::channel().0);
    let router = routes()
        .route("/fails", get(move || async move { Body::from_stream(pieces(false)) }))
        .route(
            "/sized",
            get(move || async move { ([("content-length", "15")], Body::from_stream(pieces(false))) }),
        )
        .route("/whole", get(move || async move { Body::from_stream(pieces(true)) }))
        .route("/endless", get(move || async move { endless_body() }));
    App::spawn_with(router, EdgeConfig::default(), config).await
}

async fn read(app: &App, path: &str, version: &str) -> (String, io::Result<()>) {
    let mut stream = app.sent(format!("GET {path} HTTP/{version}\r\nhost: a\r\n\r\n").as_bytes()).await;
    let mut bytes = Vec::new();
    let ended = within(stream.read_to_end(&mut bytes)).await.map(drop);
    (String::from_utf8(bytes).unwrap(), ended)
}

#[tokio::test]
async fn a_failed_body_ends_in_a_reset_in_every_version() {
    let app = app(ServeConfig::default()).await;
    for path in ["/fails", "/sized"] {
        for version in ["1.0", "1.1"] {
            let (_, ended) = read(&app, path, version).await;
            let kind = ended.map_err(|error| error.kind());
            assert_eq!(kind, Err(io::ErrorKind::ConnectionReset), "{path} {version}");
        }
    }
}

#[tokio::test]
async fn a_complete_body_ends_without_a_reset() {
    let app = app(ServeConfig::default()).await;
    let (text, ended) = read(&app, "/whole", "1.0").await;
    assert!(ended.is_ok() && text.ends_with("\r\n\r\npiecepiece"), "{text} {ended:?}");
    let (text, ended) = read(&app, "/ok", "1.0").await;
    assert!(ended.is_ok() && text.ends_with("\r\n\r\nfine"), "{text} {ended:?}");
    let head = app.raw(b"HEAD /whole HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let refused = app.raw(b"HEAD /nowhere HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 404") && refused.ends_with("\r\n\r\n"), "{refused}");
}

#[tokio::test]
async fn a_response_cut_at_the_drain_timeout_ends_in_a_reset() {
    let app = app(ServeConfig { drain: SHORT, ..ServeConfig::default() }).await;
    let mut stream = app.sent(b"GET /endless HTTP/1.0\r\n\r\n").await;
    let mut first = [0; 100];
    within(stream.read_exact(&mut first)).await.unwrap();
    let reading = tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
    assert_eq!(within(app.stop()).await.unwrap().cut, 1);
    let ended = within(reading).await.unwrap().map_err(|error| error.kind());
    assert_eq!(ended, Err(io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_client_that_stops_reading_gets_a_reset() {
    let (held, mut dropped) = oneshot::channel();
    let held = Arc::new(Mutex::new(Some(held)));
    let route = get(move || {
        let held = held.lock().take().unwrap();
        async move { endless(&[b'x'; 65_536], held) }
    });
    let config = ServeConfig { write_timeout: SHORT, ..ServeConfig::default() };
    let app = App::spawn_with(routes().route("/endless", route), EdgeConfig::default(), config).await;
    let mut stream = app.sent(b"GET /endless HTTP/1.0\r\n\r\n").await;
    assert!(within(&mut dropped).await.is_err());
    let ended = within(tokio::io::copy(&mut stream, &mut tokio::io::sink())).await;
    assert_eq!(ended.map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
}
