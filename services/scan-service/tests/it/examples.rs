//! The OpenAPI document: its examples succeed, and its names and patterns agree with the code.
//!
//! The examples name one tag. The batch of each test has it.

use catalog::Lifecycle;
use reqwest::Method;
use serde_json::{Value, json};
use tag_id::TagId;
use test_support::{ApiOperation, operations};

use crate::app::{Answer, App, open, send};
use crate::shop::Shop;

/// The tag of the examples.
const TAG: &str = "85e49ec3-de12-8001-bccf-0ce2e6986017";

async fn shop_of_the_examples() -> Shop {
    let mut shop = Shop::open().await;
    let tag: TagId = TAG.parse().unwrap();
    let opened = shop.tag_keys.open(&tag).expect("the example is a tag under the tests' secret");
    (shop.batch.batch_no, shop.batch.epoch) = (opened.batch, opened.epoch);
    shop.batch.size = opened.index.get() + 1;
    shop.save().await;
    shop
}

/// Sends the example of an operation, with all its parameters and its body.
async fn send_example(app: &App, operation: &ApiOperation<'_>) -> Answer {
    let (mut path, mut query) = (operation.path.to_owned(), Vec::new());
    for parameter in operation.document["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        let example = parameter["example"].as_str();
        let example = example.unwrap_or_else(|| panic!("{} {path}: {name} has no example", operation.method));
        match parameter["in"].as_str().unwrap() {
            "path" => path = path.replace(&format!("{{{name}}}"), example),
            "query" => query.push(format!("{name}={example}")),
            other => panic!("{name} is in {other}"),
        }
    }
    if !query.is_empty() {
        path = format!("{path}?{}", query.join("&"));
    }
    let mut request = app.request(operation.method.parse::<Method>().unwrap(), &path);
    for (kind, content) in operation.document["requestBody"]["content"].as_object().into_iter().flatten() {
        let example = content.get("example").unwrap_or_else(|| panic!("{path} has no example"));
        request = if kind == "application/json" { request.json(example) } else { request.form(example) };
    }
    send(request).await
}

#[tokio::test]
async fn every_request_example_of_the_document_succeeds() {
    let shop = shop_of_the_examples().await;
    let app = open(&shop, &[]).await;
    let document: Value = app.get("/openapi.json").await.json();
    let all = operations(&document);
    let mut read = 0;
    for operation in &all {
        let answered = send_example(&app, operation).await;
        let status = answered.status.to_string();
        // The form's address redirects to the page of the form, and the client of the tests follows.
        let redirects = operation.document["responses"].get("303").is_some();
        assert!(
            status.starts_with('2'),
            "{} {}: {status} {}",
            operation.method,
            operation.path,
            answered.text
        );
        assert!(redirects || operation.document["responses"].get(&status).is_some(), "{}", operation.path);
        if operation.path.starts_with("/v1/scan") {
            assert_eq!((&answered.json()["valid"], &answered.json()["tag_id"]), (&json!(true), &json!(TAG)));
            read += 1;
        }
    }
    assert_eq!(read, 3);
    println!("the examples of {} operations were sent", all.len());
}

#[tokio::test]
async fn the_document_names_its_servers_and_the_values_that_texts_may_hold() {
    let shop = shop_of_the_examples().await;
    let app = open(&shop, &[]).await;
    let document: Value = app.get("/openapi.json").await.json();
    test_support::assert_values_described(&document);
    assert_eq!(document["servers"][0]["url"], "/");
    let schema =
        |name: &str, property: &str| document["components"]["schemas"][name]["properties"][property].clone();
    assert_eq!(schema("ScanAnswer", "lifecycle")["enum"], json!(Lifecycle::ALL));
    assert_eq!(schema("RegionAnswer", "state")["enum"], json!(["cold", "warm"]));
    assert_eq!(schema("ReportRequest", "details")["pattern"], input::LINES_PATTERN);
    assert_eq!(schema("ScanRequest", "tag_id")["pattern"], TagId::PATTERN);
    let reasons = &document["components"]["schemas"]["Reason"]["enum"];
    assert_eq!(*reasons, json!(["counterfeit", "damaged", "mismatch", "stolen", "other"]));
}
