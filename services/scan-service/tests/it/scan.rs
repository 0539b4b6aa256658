//! The verdict: its members, every route to it, and what changes with each scan.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::app::{open, send};
use crate::shop::{Shop, now};

fn members(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn factors(verdict: &Value) -> Vec<(&str, u64)> {
    let rows = verdict["risk"]["factors"].as_array().unwrap().iter();
    rows.map(|row| (row["name"].as_str().unwrap(), row["weight"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn a_verdict_has_every_member_of_the_contract() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let before = now();
    let answer = app.scan(shop.tag(0)).await;
    let verdict = answer.verdict();
    let expected = [
        "tag_id",
        "valid",
        "lifecycle",
        "product_id",
        "product",
        "issuer",
        "batch_id",
        "batch",
        "first_scan_at",
        "scan_count",
        "counted",
        "seen_by_others",
        "risk",
        "verification_id",
    ];
    assert_eq!(members(&verdict), BTreeSet::from(expected));
    assert_eq!(verdict["tag_id"], shop.tag(0).to_string());
    assert_eq!((&verdict["valid"], &verdict["lifecycle"]), (&json!(true), &json!("active")));
    assert_eq!((&verdict["counted"], &verdict["seen_by_others"]), (&json!(true), &json!(false)));
    assert_eq!(verdict["product_id"], shop.product.id.to_string());
    assert_eq!(verdict["batch_id"], shop.batch.id.to_string());
    let product = json!({"name": "Serum 30 ml", "brand": "Acme", "gtin": "4006381333931"});
    assert_eq!(verdict["product"], product);
    assert_eq!(members(&verdict["batch"]), BTreeSet::from(["label", "manufactured_at"]));
    assert_eq!(verdict["batch"]["label"], "spring");
    let made = verdict["batch"]["manufactured_at"].as_str().unwrap();
    assert_eq!(OffsetDateTime::parse(made, &Rfc3339).ok(), shop.batch.manufactured_at);
    assert_eq!(verdict["risk"], json!({"score": 0, "level": "low", "factors": []}));
    let first = verdict["first_scan_at"].as_str().unwrap();
    assert!(first.ends_with('Z'), "{first} is not in UTC");
    let first = OffsetDateTime::parse(first, &Rfc3339).unwrap();
    assert!((first - before).abs() < time::Duration::seconds(60), "{first}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn unknown_members_of_a_batch_are_omitted() {
    let mut shop = Shop::open().await;
    (shop.product.gtin, shop.batch.label, shop.batch.manufactured_at) = (None, None, None);
    shop.save().await;
    let app = open(&shop, &[]).await;
    let verdict = app.scan(shop.tag(0)).await.verdict();
    assert_eq!(verdict["batch"], json!({}));
    assert_eq!(members(&verdict["product"]), BTreeSet::from(["brand", "name"]));
}

#[tokio::test]
async fn every_route_and_every_text_form_counts_the_same_tag() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let (uuid, crockford) = (shop.tag(3).to_string(), shop.tag(3).crockford().to_string());
    let confusable = crockford.replace('1', "l").replace('0', "O");
    let mut count = 0;
    let mut ids = BTreeSet::new();
    let mut shape = None;
    for text in [uuid.clone(), uuid.to_uppercase(), crockford.clone(), crockford.to_lowercase(), confusable] {
        let by_path = app.scan(&text).await;
        let by_query = app.get(&format!("/v1/scan?tag_id={text}")).await;
        let by_body = app.post_json("/v1/scan", &json!({"tag_id": text})).await;
        for answer in [by_path, by_query, by_body] {
            count += 1;
            let verdict = answer.verdict();
            assert_eq!((&verdict["tag_id"], &verdict["scan_count"]), (&json!(uuid), &json!(count)), "{text}");
            let members: Vec<String> = members(&verdict).into_iter().map(str::to_owned).collect();
            assert_eq!(*shape.get_or_insert(members.clone()), members);
            let id: uuid::Uuid = verdict["verification_id"].as_str().unwrap().parse().unwrap();
            assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
            assert!(ids.insert(id), "each response has a new verification id");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
    assert_eq!(app.scans("active").await, count);
}

#[tokio::test]
async fn scans_are_summed_and_the_time_of_the_first_is_kept() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let first = app.scan(shop.tag(1)).await.verdict();
    for count in 2..=12_u64 {
        let verdict = app.scan(shop.tag(1)).await.verdict();
        assert_eq!(verdict["scan_count"], count);
        assert_eq!(verdict["first_scan_at"], first["first_scan_at"]);
        // All within seconds, with the thresholds of the contract.
        let mut expected = Vec::new();
        expected.extend((count >= 3).then_some(("rapid_scans", 35)));
        expected.extend((count >= 5).then_some(("high_frequency", 30)));
        expected.extend((count >= 10).then_some(("unusual_repetition", 15)));
        assert_eq!(factors(&verdict), expected, "scan {count}");
        let (score, level) = match count {
            ..3 => (0, "low"),
            3..5 => (35, "low"),
            5..10 => (65, "medium"),
            _ => (80, "high"),
        };
        assert_eq!((&verdict["risk"]["score"], &verdict["risk"]["level"]), (&json!(score), &json!(level)));
    }
    assert_eq!(app.scan(shop.tag(2)).await.verdict()["scan_count"], 1, "other tags have their own count");
}

#[tokio::test]
async fn a_script_client_raises_the_risk() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let path = format!("/v1/scan/{}", shop.tag(0));
    let curl = send(app.request(Method::GET, &path).header("user-agent", "curl/8.5.0")).await.verdict();
    assert_eq!(factors(&curl), [("suspicious_user_agent", 25)]);
    let silent = reqwest::Client::new().get(app.url(&path));
    assert_eq!(factors(&send(silent).await.verdict()), [("suspicious_user_agent", 25)]);
}

#[tokio::test]
async fn counts_are_exact_under_concurrent_scans_of_two_instances() {
    const EACH: usize = 25;
    let shop = Shop::open().await;
    let settings = [("RATE_LIMIT_IP_PER_MINUTE", "1000")];
    let (one, other) = (open(&shop, &settings).await, open(&shop, &settings).await);
    let path = format!("/v1/scan/{}", shop.tag(0));
    let mut running = tokio::task::JoinSet::new();
    for app in [&one, &other] {
        for _ in 0..EACH {
            running.spawn(send(app.request(Method::GET, &path)));
        }
    }
    let answers = running.join_all().await;
    let counts: BTreeSet<u64> =
        answers.iter().map(|answer| answer.verdict()["scan_count"].as_u64().unwrap()).collect();
    assert_eq!(counts, (1..=2 * EACH as u64).collect(), "each count occurs once");
}
