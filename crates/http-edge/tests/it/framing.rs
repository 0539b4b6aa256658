//! Ambiguous and invalid heads, sent as raw bytes.

use crate::app::{App, DEADLINE, one_response, to_end};
use tokio::io::AsyncWriteExt;

const CLOSED: &str = "connection: close";

#[tokio::test]
async fn an_ambiguous_or_invalid_head_is_400_and_closes_the_connection() {
    let app = App::spawn().await;
    let hidden = "GET /peer HTTP/1.1\r\nhost: a\r\n\r\n";
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
        let response = app
            .raw(format!("POST /echo HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n{chunks}{hidden}").as_bytes())
            .await;
        assert!(response.starts_with("HTTP/1.1 400"), "{what}: {response}");
        assert_eq!(
            (response.matches("HTTP/1.1").count(), response.contains(CLOSED)),
            (1, true),
            "{what}: {response}"
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
        let response = app.raw(head.as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 400") && response.contains(CLOSED), "{head:?}: {response}");
        assert_eq!(response.matches("HTTP/1.1").count(), 1, "{head:?}: {response}");
    }
    // One byte per segment, after a valid request.
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
async fn an_invalidated_incomplete_head_has_the_time_limit_of_heads() {
    let config = http_edge::ServeConfig { header_timeout: crate::app::SHORT, ..Default::default() };
    let app = App::spawn_with(crate::app::routes(), http_edge::EdgeConfig::default(), config).await;
    let served = "GET /ok HTTP/1.1\r\nhost: a\r\n\r\n";
    let response = app.raw(format!("{served}GET /ok HTTP/1.1\nhost: a\r\n").as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

#[tokio::test]
async fn an_invalid_request_line_is_400_and_closes_the_connection() {
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
        let response = app.raw(format!("{line}\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 400"), "{line:?}: {response}");
        assert!(response.contains(CLOSED), "{line:?}: {response}");
    }
}

#[tokio::test]
async fn the_absolute_form_is_served_by_its_path() {
    let app = App::spawn().await;
    let response = app.raw(b"GET http://b.example/ok HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("fine"), "{response}");
}

#[tokio::test]
async fn a_chunked_body_may_have_extensions_and_trailers_before_the_next_request() {
    let app = App::spawn().await;
    let chunked = "POST /echo HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
                   2;a=b\r\nab\r\n1 \r\nc\r\n0\r\nx: y\r\n\r\n";
    let last = "GET /ok HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let response = app.raw(format!("{chunked}{chunked}{last}").as_bytes()).await;
    assert_eq!(response.matches("HTTP/1.1 200").count(), 3, "{response}");
    assert_eq!(response.matches("abc").count(), 2, "{response}");
}

#[tokio::test]
async fn transfer_encoding_of_http_1_0_is_400() {
    let app = App::spawn().await;
    let response = app.raw(b"POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").await;
    assert!(response.contains(" 400 "), "{response}");
}

#[tokio::test]
async fn a_client_that_closes_its_side_still_gets_its_responses() {
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
        let response = to_end(&mut stream).await;
        assert_eq!(response.matches("HTTP/1.1 200").count(), count, "{response}");
    }
    let mut cut = app.sent(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc").await;
    cut.shutdown().await.unwrap();
    let response = tokio::time::timeout(DEADLINE, to_end(&mut cut)).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 400"), "an incomplete body: {response}");
}
