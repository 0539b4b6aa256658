//! Heads that two readers could read differently, and others that no client should send: byte by byte on a
//! socket.

use crate::app::{App, PATIENCE, one_response, to_end};
use tokio::io::AsyncWriteExt;

const CLOSED: &str = "connection: close";

#[tokio::test]
async fn an_ambiguous_or_broken_head_is_400_and_the_connection_is_closed() {
    let app = App::spawn().await;
    let smuggled = "GET /peer HTTP/1.1\r\nhost: a\r\n\r\n";
    let chunks = "3\r\nabc\r\n0\r\n\r\n";
    for (what, head) in [
        ("a coding before chunked", "transfer-encoding: gzip, chunked"),
        (
            "a coding before chunked, in a line of its own",
            "transfer-encoding: gzip\r\ntransfer-encoding: chunked",
        ),
        ("chunked twice", "transfer-encoding: chunked, chunked"),
        ("chunked twice, in two lines", "transfer-encoding: chunked\r\ntransfer-encoding: chunked"),
        ("a coding after chunked", "transfer-encoding: chunked, gzip"),
        ("another coding", "transfer-encoding: gzip"),
        ("identity", "transfer-encoding: identity"),
        ("a parameter", "transfer-encoding: chunked;a=b"),
        ("quotes", "transfer-encoding: \"chunked\""),
        ("an empty coding", "transfer-encoding:"),
        ("a vertical tab", "transfer-encoding: \u{b}chunked"),
        ("a length beside chunked", "content-length: 3\r\ntransfer-encoding: chunked"),
        ("a length after chunked", "transfer-encoding: chunked\r\ncontent-length: 3"),
        ("two lengths", "content-length: 3\r\ncontent-length: 4"),
        ("the same length twice", "content-length: 3\r\ncontent-length: 3"),
        ("a list of lengths", "content-length: 3, 3"),
        ("a signed length", "content-length: +3"),
        ("a negative length", "content-length: -1"),
        ("a hexadecimal length", "content-length: 0x3"),
        ("no length", "content-length: "),
        ("a length that overflows", "content-length: 18446744073709551619"),
        ("white space before the colon", "content-length : 3"),
        ("white space before another colon", "x : y"),
        ("a folded line", "x: y\r\n folded"),
        ("a folded line that holds a framing", "x: y\r\n transfer-encoding: chunked"),
        ("NUL in a value", "x: a\0b"),
        ("NUL in a name", "x\0: b"),
        ("a bare CR in a value", "x: a\rb: c"),
        ("a bare LF in a value", "x: a\nb: c"),
        ("no colon", "x"),
        ("no name", ": x"),
    ] {
        let answer = app
            .raw(format!("POST /echo HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n{chunks}{smuggled}").as_bytes())
            .await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{what}: {answer}");
        assert_eq!(
            (answer.matches("HTTP/1.1").count(), answer.contains(CLOSED)),
            (1, true),
            "{what}: {answer}"
        );
    }
}

#[tokio::test]
async fn a_bare_line_feed_anywhere_in_a_head_is_400() {
    let app = App::spawn().await;
    for head in [
        "\nGET /ok HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /ok HTTP/1.1\nhost: a\r\n\r\n",
        "GET /ok HTTP/1.1\r\nhost: a\n\r\n",
        "GET /ok HTTP/1.1\r\nhost: a\r\n\n",
        "GET /ok HTTP/1.1\nhost: a\n\n",
        "GET /ok HTTP/1.1\r\nhost: a\n\nGET /ok HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let answer = app.raw(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(CLOSED), "{head:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{head:?}: {answer}");
    }
    // One byte per segment, behind a request that is served.
    let mut stream = app.sent(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n").await;
    one_response(&mut stream).await;
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /ok HTTP/1.1\nhost: a\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(to_end(&mut stream).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn a_spoilt_head_that_is_never_completed_meets_the_heads_deadline() {
    let config = http_edge::ServeConfig { header_timeout: crate::app::SHORT, ..Default::default() };
    let app = App::spawn_with(crate::app::routes(), http_edge::EdgeConfig::default(), config).await;
    let served = "GET /ok HTTP/1.1\r\nhost: a\r\n\r\n";
    let answer = app.raw(format!("{served}GET /ok HTTP/1.1\nhost: a\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_request_line_that_is_none_is_refused_and_closed() {
    let app = App::spawn().await;
    for line in [
        "GET /ok",
        "GET /ok HTTP/1.1 x",
        "GET /ok HTTP/2.0",
        "GET /ok HTTP/0.9",
        "GET /o\0k HTTP/1.1",
        "GET  /ok HTTP/1.1",
        "GET ok HTTP/1.1",
        "G\0T /ok HTTP/1.1",
    ] {
        let answer = app.raw(format!("{line}\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{line:?}: {answer}");
        assert!(answer.contains(CLOSED), "{line:?}: {answer}");
    }
}

#[tokio::test]
async fn the_absolute_form_is_served_by_its_path() {
    let app = App::spawn().await;
    let answer = app.raw(b"GET http://b.example/ok HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("fine"), "{answer}");
}

#[tokio::test]
async fn a_chunked_body_is_read_with_extensions_and_trailers_and_the_next_request_is_found() {
    let app = App::spawn().await;
    let chunked = "POST /echo HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
                   2;a=b\r\nab\r\n1 \r\nc\r\n0\r\nx: y\r\n\r\n";
    let last = "GET /ok HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = app.raw(format!("{chunked}{chunked}{last}").as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 3, "{answer}");
    assert_eq!(answer.matches("abc").count(), 2, "{answer}");
}

#[tokio::test]
async fn transfer_encoding_of_http_1_0_is_400() {
    let app = App::spawn().await;
    let answer = app.raw(b"POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert!(answer.contains(" 400 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_closes_its_half_still_gets_its_answers() {
    let slow = axum::routing::get(|| async {
        tokio::time::sleep(crate::app::SHORT).await;
        "slow but fine"
    });
    let app = App::spawn_with(
        crate::app::routes().route("/slow", slow),
        http_edge::EdgeConfig::default(),
        http_edge::ServeConfig::default(),
    )
    .await;
    let get = "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n";
    let post = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc";
    for (requests, count) in [
        (get.to_owned(), 1),
        (post.to_owned(), 1),
        (format!("{get}{post}"), 2),
        (format!("{get}{get}{get}"), 3),
    ] {
        let mut stream = app.sent(requests.as_bytes()).await;
        stream.shutdown().await.unwrap();
        let answer = to_end(&mut stream).await;
        assert_eq!(answer.matches("HTTP/1.1 200").count(), count, "{answer}");
    }
    let mut cut = app.sent(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc").await;
    cut.shutdown().await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, to_end(&mut cut)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "a body that is not complete: {answer}");
}
