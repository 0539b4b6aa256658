//! Exports of a batch's tags.

use reqwest::Method;
use serde_json::json;
use tag_id::{MasterSecret, TagId, TagKeys};
use test_support::RedisServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Factory, KEY, SECRET, SLOWLY, answer, start, start_behind_proxy, text};

#[tokio::test]
async fn every_tag_of_a_batch_is_exported_once_and_is_authentic() {
    let (_redis, factory) = start().await;
    let batch = factory.batch(2_500).await;
    let tag_keys = TagKeys::new(Some(MasterSecret::from_hex(SECRET).unwrap()), []);
    let rows = factory.tags(&batch, "").await;
    assert_eq!(rows.len(), 2_500);
    for (index, row) in rows.iter().enumerate() {
        let id = TagId::parse(&text(&row["tag_id"])).unwrap();
        let opened = tag_keys.open(&id).unwrap();
        assert_eq!(row["index"], index);
        assert_eq!(opened.index.get() as usize, index);
        assert_eq!(batch["batch_no"], opened.batch.get());
        assert_eq!(text(&row["crockford"]), id.crockford().as_str());
        assert_eq!(text(&row["url"]), format!("https://v.example/t/{}", id.crockford()));
    }
}

#[tokio::test]
async fn a_range_equals_the_same_rows_of_the_whole() {
    let (_redis, factory) = start().await;
    let batch = factory.batch(2_100).await;
    let all = factory.tags(&batch, "").await;
    assert_eq!(factory.tags(&batch, "?from=1050&limit=1000").await, all[1_050..2_050]);
    assert_eq!(factory.tags(&batch, "?from=2099").await, all[2_099..]);
    assert_eq!(factory.tags(&batch, "?limit=1&format=ndjson").await, all[..1]);
    assert_eq!(factory.tags(&batch, "?from=2000&limit=99999999999").await, all[2_000..]);
}

#[tokio::test]
async fn csv_is_a_file_with_a_header_and_quotes_where_needed() {
    let redis = RedisServer::start().await;
    let factory = Factory::start(&redis.url(), &[("PUBLIC_BASE_URL", "https://v.example/a,b")]).await;
    let batch = factory.batch(3).await;
    let id = text(&batch["id"]);
    let rows = factory.tags(&batch, "").await;
    let csv = factory.get(&format!("/v1/batches/{id}/tags?format=csv")).await;
    assert_eq!(csv.status, 200);
    assert!(csv.header("content-type").starts_with("text/csv"));
    assert_eq!(csv.header("content-disposition"), format!("attachment; filename=\"batch-{id}.csv\""));
    assert_eq!(csv.header("content-length"), csv.text.len().to_string());
    let mut expected = "index,tag_id,crockford,url\r\n".to_owned();
    for row in rows {
        let (tag, short) = (text(&row["tag_id"]), text(&row["crockford"]));
        expected += &format!("{},{tag},{short},\"https://v.example/a,b/t/{short}\"\r\n", row["index"]);
    }
    assert_eq!(csv.text, expected);
    let ndjson = factory.get(&format!("/v1/batches/{id}/tags")).await;
    assert_eq!(ndjson.header("content-type"), "application/x-ndjson");
    assert_eq!(ndjson.header("content-length"), ndjson.text.len().to_string());
    assert_eq!(ndjson.header("content-disposition"), format!("attachment; filename=\"batch-{id}.ndjson\""));
}

#[tokio::test]
async fn an_export_appends_one_event_and_a_rejected_one_none() {
    let (_redis, factory) = start().await;
    let batch = factory.batch(10).await;
    let id = text(&batch["id"]);
    let path = format!("/v1/batches/{id}/tags");
    for (wrong, named) in [
        ("from=10", "from"),
        ("from=99999999999999", "from"),
        ("from=-1", "from"),
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("format=xml", "format"),
        ("format=CSV", "format"),
        ("form=csv", "form"),
        ("from=1&from=2", "from"),
    ] {
        let detail = factory.get(&format!("{path}?{wrong}")).await.expect_problem(400, "invalid-request");
        assert!(detail.contains(named), "{wrong}: {detail}");
    }
    factory
        .get("/v1/batches/019c6652-5e00-7000-8000-0000000000aa/tags")
        .await
        .expect_problem(404, "not-found");
    factory.assert_chain_of(2).await;
    factory.tags(&batch, "?from=4&limit=100").await;
    let events = factory.events().await;
    assert_eq!(events[2]["action"], "batch.exported");
    assert_eq!(events[2]["resource"], format!("batch/{id}"));
    assert_eq!(events[2]["details"], json!({"format": "ndjson", "from": 4, "count": 6}));
    factory.assert_chain_of(3).await;
}

#[tokio::test]
async fn head_is_not_allowed_on_an_export_and_appends_no_event() {
    let (_redis, factory) = start().await;
    let path = format!("/v1/batches/{}/tags", text(&factory.batch(10).await["id"]));
    let head = answer(factory.request(Method::HEAD, &path)).await;
    assert_eq!((head.status, head.header("allow")), (405, "GET"));
    factory.assert_chain_of(2).await;
}

#[tokio::test]
async fn a_withdrawn_batch_can_still_be_exported() {
    let (_redis, factory) = start().await;
    let batch = factory.batch(2).await;
    let path = format!("/v1/batches/{}/revoke", text(&batch["id"]));
    factory.post(&path, &json!({"reason": "r"})).await.expect(200);
    assert_eq!(factory.tags(&batch, "").await.len(), 2);
}

#[tokio::test]
async fn a_client_that_disconnects_from_a_large_export_does_no_harm() {
    let (_redis, factory) = start().await;
    let path = format!("/v1/batches/{}/tags", text(&factory.batch(16_777_216).await["id"]));
    for _ in 0..3 {
        let mut response = factory.request(Method::GET, &path).send().await.unwrap();
        assert!(response.chunk().await.unwrap().unwrap().starts_with(b"{\"index\":0,"));
    }
    assert_eq!(factory.get("/v1/health").await.status, 200);
    factory.assert_chain_of(5).await;
}

/// Opens a connection and sends a request in the given version of HTTP.
async fn request(factory: &Factory, path: &str, version: &str) -> TcpStream {
    let mut stream = TcpStream::connect(factory.base.trim_start_matches("http://")).await.unwrap();
    let head = format!("GET {path} HTTP/{version}\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn an_http_1_0_client_gets_the_length_of_an_export() {
    let (_redis, factory) = start().await;
    let path = format!("/v1/batches/{}/tags?format=csv", text(&factory.batch(1_500).await["id"]));
    let mut whole = String::new();
    request(&factory, &path, "1.0").await.read_to_string(&mut whole).await.unwrap();
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    assert_eq!(body.lines().count(), 1_501);
}

#[tokio::test]
async fn an_export_of_the_chain_that_loses_redis_is_reset_in_every_http_version() {
    let (_redis, proxy, factory) = start_behind_proxy().await;
    for version in ["1.0", "1.1"] {
        factory.until_ready().await;
        proxy.delay(SLOWLY);
        let mut stream = request(&factory, "/v1/admin/audit/export", version).await;
        let mut got = Vec::new();
        while !String::from_utf8_lossy(&got).contains("voketag-audit-export") {
            assert!(stream.read_buf(&mut got).await.unwrap() > 0, "{version}");
        }
        // The first page of entries has not arrived yet.
        proxy.cut();
        let ended = stream.read_to_end(&mut got).await.map_err(|error| error.kind());
        assert_eq!(ended, Err(std::io::ErrorKind::ConnectionReset), "{version}: {got:?}");
        proxy.heal();
    }
}
