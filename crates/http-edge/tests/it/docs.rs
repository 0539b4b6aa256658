//! Browsers cache Swagger UI, and it is sent compressed.

use crate::app::{App, problem};
use flate2::read::GzDecoder;
use http_edge::{EdgeConfig, ServeConfig, docs_routes};
use std::io::Read;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(info(title = "test"))]
struct Document;

async fn get(app: &App, path: &str, accept: &str) -> reqwest::Response {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    client.get(app.url(path)).header("accept-encoding", accept).send().await.unwrap()
}

#[tokio::test]
async fn files_of_the_page_are_cached_for_a_year_and_sent_compressed_to_clients_that_accept_it() {
    let app =
        App::spawn_with(docs_routes(Document::openapi()), EdgeConfig::default(), ServeConfig::default())
            .await;
    assert_eq!(get(&app, "/docs", "").await.headers()["location"], "/docs/");
    let page = get(&app, "/docs/", "gzip").await;
    assert_eq!(page.headers()["cache-control"], "public, max-age=60");
    let page = page.text().await.unwrap();
    assert!(page.len() < 2_000, "{page}");
    let names: Vec<&str> = page.split("\"./").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    assert!(names.len() >= 6, "{page}");
    for name in names {
        let plain = get(&app, &format!("/docs/{name}"), "identity").await;
        assert_eq!(plain.status(), 200, "{name}");
        assert_eq!(plain.headers()["cache-control"], "public, max-age=31536000, immutable", "{name}");
        assert_eq!(plain.headers()["vary"], "accept-encoding", "{name}");
        assert!(!plain.headers().contains_key("content-encoding"), "{name}");
        let plain = plain.bytes().await.unwrap();
        for accept in ["gzip", "br;q=1.0, GZip;q=0.5", "*"] {
            let packed = get(&app, &format!("/docs/{name}"), accept).await;
            if !packed.headers().contains_key("content-encoding") {
                assert!(plain.len() < 2_000, "{name}");
                continue;
            }
            assert_eq!(packed.headers()["content-encoding"], "gzip", "{name}");
            let packed = packed.bytes().await.unwrap();
            let mut unpacked = Vec::new();
            GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
            assert!(unpacked == plain && packed.len() < plain.len(), "{name}");
            if name.starts_with("swagger-ui-bundle") {
                assert!(
                    plain.len() > 1_000_000 && packed.len() < 600_000,
                    "{} {}",
                    plain.len(),
                    packed.len()
                );
            }
        }
        for accept in ["gzip;q=0", "gzip;q=0, *", "br"] {
            let response = get(&app, &format!("/docs/{name}"), accept).await;
            assert!(!response.headers().contains_key("content-encoding"), "{name} {accept}");
        }
    }
    let other = get(&app, "/docs/swagger-ui-bundle.0123456789abcdef.js", "gzip").await;
    problem(other, 404, "not-found").await;
    let document: serde_json::Value = get(&app, "/openapi.json", "gzip").await.json().await.unwrap();
    assert_eq!(document["info"]["title"], "test");
}
