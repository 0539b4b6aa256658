//! Invalid input gets the status and slug of docs/contract.md §5 on every route.

use reqwest::Method;
use serde_json::json;

use crate::app::{App, open, send};
use crate::shop::Shop;

const JSON: &str = "application/json";

/// Texts that are not an id in any accepted form.
fn not_ids(tag: &tag_id::TagId) -> Vec<String> {
    let (uuid, crockford) = (tag.to_string(), tag.crockford().to_string());
    let simple = uuid.replace('-', "");
    let shifted = format!("{}-{}", &simple[..7], &uuid[8..]);
    let misplaced = format!(
        "{}-{}-{}-{}-{}",
        &simple[..7],
        &simple[7..12],
        &simple[12..16],
        &simple[16..20],
        &simple[20..]
    );
    let mut texts = vec![
        uuid[..35].to_owned(),
        format!("{uuid}0"),
        crockford[..25].to_owned(),
        format!("{crockford}0"),
        simple,
        shifted,
        misplaced,
        uuid.replace('-', "_"),
        format!("{{{uuid}}}"),
        format!("urn:uuid:{uuid}"),
        format!(" {uuid}"),
        format!("{uuid} "),
        format!(" {}", &uuid[1..]),
        format!("{uuid}\n"),
        format!("+{}", &uuid[1..]),
        format!("g{}", &uuid[1..]),
        format!("{}\0", &uuid[..35]),
        format!("U{}", &crockford[1..]),
        format!("{}U", &crockford[..25]),
        format!("{}-", &crockford[..25]),
        format!("{}*", &crockford[..25]),
        format!("{}é", &crockford[..24]),
        format!("{}é", &uuid[..34]),
        "x".to_owned(),
        "0".repeat(8_000),
        "../../etc/passwd".to_owned(),
        "' OR 1=1 --".to_owned(),
        "nil".to_owned(),
    ];
    texts.extend(["8", "9", "A", "Z"].map(|first| format!("{first}{}", &crockford[1..])));
    texts
}

/// Escapes every byte, so that the text has no special meaning in a URL.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_text_that_is_not_an_id_is_400_on_every_route() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "1000")]).await;
    let texts = not_ids(&shop.tag(0));
    for text in &texts {
        // The length of a head is limited: 8,000 escaped characters would not fit.
        let shown = if text.len() > 1_000 { text.clone() } else { escaped(text) };
        app.scan(&shown).await.assert_problem(400, "invalid-tag-id");
        app.get(&format!("/v1/scan?tag_id={shown}")).await.assert_problem(400, "invalid-tag-id");
        app.post_json("/v1/scan", &json!({"tag_id": text})).await.assert_problem(400, "invalid-tag-id");
        let report = json!({"tag_id": text, "reason": "other"});
        app.post_json("/v1/report", &report).await.assert_problem(400, "invalid-tag-id");
        app.get(&format!("/t/{shown}")).await.assert_page(400);
        // The page has a form to report a code that is not ours.
        app.post_form(&format!("/t/{shown}/report"), &[("reason", "other")]).await.assert_page(202);
    }
    assert_eq!(app.scans("invalid_id").await, 4 * texts.len() as u64);
    assert_eq!(app.scan(shop.tag(0)).await.verdict()["scan_count"], 1, "none of them was counted");
}

#[tokio::test]
async fn an_empty_id_and_one_that_is_not_text_are_400() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    app.get("/v1/scan?tag_id=").await.assert_problem(400, "invalid-tag-id");
    app.post_json("/v1/scan", &json!({"tag_id": ""})).await.assert_problem(400, "invalid-tag-id");
    for bytes in ["%FF", "%C3%28", &format!("{}%FF", &shop.tag(0).to_string()[..35])] {
        app.scan(bytes).await.assert_problem(400, "invalid-tag-id");
        app.get(&format!("/t/{bytes}")).await.assert_page(400);
        app.get(&format!("/v1/scan?tag_id={bytes}")).await.assert_problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn a_query_has_tag_id_once_and_nothing_else() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let tag = shop.tag(0);
    for query in [
        String::new(),
        "?".to_owned(),
        "?id=1".to_owned(),
        format!("?tag_id={tag}&tag_id={tag}"),
        format!("?tag_id={tag}&tag%5Fid={tag}"),
        format!("?tag_id={tag}&x=1"),
        format!("?TAG_ID={tag}"),
        format!("?tag_id[]={tag}"),
        format!("?tag_id={tag}&x=%FF"),
    ] {
        app.get(&format!("/v1/scan{query}")).await.assert_problem(400, "invalid-request");
    }
}

async fn post(app: &App, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> crate::app::Answer {
    send(app.request(Method::POST, path).header("content-type", kind).body(body)).await
}

#[tokio::test]
async fn a_json_body_that_cannot_be_read_is_400() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let tag = shop.tag(0);
    for body in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        format!("[\"{tag}\"]"),
        format!(" \n[\"{tag}\"]"),
        "\"x\"".to_owned(),
        "{".to_owned(),
        "{}".to_owned(),
        format!("{{\"tag_id\":\"{tag}\"}} x"),
        format!("{{\"tag_id\":\"{tag}\",}}"),
        format!("{{tag_id:\"{tag}\"}}"),
        format!("{{\"tag_id\":\"{tag}\",\"tag_id\":\"{tag}\"}}"),
        format!("{{\"tag_id\":\"{tag}\",\"x\":1}}"),
        format!("{{\"tag_id\":[\"{tag}\"]}}"),
        "{\"tag_id\":null}".to_owned(),
        "{\"tag_id\":7}".to_owned(),
        "{\"tag_id\":true}".to_owned(),
        "{\"tag_id\":\"\\ud800\"}".to_owned(),
        format!("{{\"tag_id\":{}}}", "[".repeat(10_000)),
    ] {
        let shown: String = body.chars().take(80).collect();
        let answer = post(&app, "/v1/scan", JSON, body).await;
        assert_eq!(answer.status, 400, "{shown}");
        answer.assert_problem(400, "invalid-request");
    }
    post(&app, "/v1/scan", JSON, &b"{\"tag_id\":\"\xff\"}"[..]).await.assert_problem(400, "invalid-request");
    for body in [
        format!("{{\"tag_id\":\"{tag}\",\"reason\":\"other\",\"reason\":\"other\"}}"),
        format!("{{\"tag_id\":\"{tag}\",\"reason\":7}}"),
        format!("{{\"tag_id\":\"{tag}\",\"reason\":null}}"),
        format!("{{\"tag_id\":\"{tag}\",\"reason\":\"lost\"}}"),
        format!("{{\"tag_id\":\"{tag}\",\"reason\":{{\"other\":null}}}}"),
        format!("{{\"tag_id\":\"{tag}\",\"reason\":[\"other\"]}}"),
        format!("[\"{tag}\",\"other\"]"),
        format!("[\"{tag}\",\"other\",null]"),
        format!("{{\"tag_id\":\"{tag}\",\"reason\":\"other\",\"details\":7}}"),
        format!("{{\"tag_id\":\"{tag}\",\"reason\":\"other\",\"details\":{{}}}}"),
    ] {
        post(&app, "/v1/report", JSON, body).await.assert_problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_of_another_type_415() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let long = vec![b' '; 64 * 1024 + 1];
    for path in ["/v1/scan", "/v1/report"] {
        post(&app, path, JSON, long.clone()).await.assert_problem(413, "content-too-large");
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/jsonx",
            "",
        ] {
            post(&app, path, kind, "{}").await.assert_problem(415, "unsupported-media-type");
        }
        send(app.request(Method::POST, path).body("{}")).await.assert_problem(415, "unsupported-media-type");
    }
    let form = format!("/t/{}/report", shop.tag(0));
    post(&app, &form, "application/x-www-form-urlencoded", long).await.assert_page(413);
    let json = json!({"tag_id": shop.tag(0).to_string()}).to_string();
    assert_eq!(post(&app, "/v1/scan", "Application/JSON; charset=utf-8", json).await.status, 200);
}

#[tokio::test]
async fn a_wrong_method_is_405_and_lists_the_allowed_ones() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let tag = shop.tag(0);
    for (path, allowed) in [
        ("/v1/scan".to_owned(), vec!["GET", "POST", "OPTIONS"]),
        (format!("/v1/scan/{tag}"), vec!["GET", "OPTIONS"]),
        ("/".to_owned(), vec!["GET", "HEAD"]),
        ("/favicon.ico".to_owned(), vec!["GET", "HEAD"]),
        ("/robots.txt".to_owned(), vec!["GET", "HEAD"]),
        ("/v1/report".to_owned(), vec!["POST", "OPTIONS"]),
        ("/v1/region".to_owned(), vec!["GET", "HEAD"]),
        ("/v1/health".to_owned(), vec!["GET", "HEAD"]),
        ("/v1/ready".to_owned(), vec!["GET", "HEAD"]),
        ("/metrics".to_owned(), vec!["GET", "HEAD"]),
        ("/openapi.json".to_owned(), vec!["GET", "HEAD"]),
        (format!("/t/{tag}"), vec!["GET"]),
        (format!("/t/{tag}/report"), vec!["GET", "HEAD", "POST"]),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            if allowed.contains(&method) {
                continue;
            }
            let answer = send(app.request(method.parse().unwrap(), &path)).await;
            assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text);
            let mut named: Vec<&str> = answer.header("allow").unwrap().split(',').map(str::trim).collect();
            named.sort_unstable();
            let mut allowed = allowed.clone();
            allowed.sort_unstable();
            assert_eq!(named, allowed, "{method} {path}");
            match (method, path.starts_with("/t/")) {
                ("HEAD", _) => assert_eq!(answer.text, ""),
                (_, true) => answer.assert_page(405),
                (_, false) => answer.assert_problem(405, "method-not-allowed"),
            }
        }
    }
    assert_eq!(app.scan(tag).await.verdict()["scan_count"], 1, "none of them was counted");
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    for path in ["/v1", "/v1/", "/v2/scan", "/v1/scan/a/b", "/v1/scans", "/metrics/x", "/.env"] {
        app.get(path).await.assert_problem(404, "not-found");
    }
    for path in ["/t", "/t/", "/t/a/b/c"] {
        app.get(path).await.assert_page(404);
    }
}
