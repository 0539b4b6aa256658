//! Malformed input is rejected with the contract's messages and appends no event.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Factory, answer, start, text};

const JSON: &str = "application/json";

/// Method, path, media type, body, status and slug of the problem, and a part of its detail.
type Row<'a> = (Method, &'a str, &'a str, &'a [u8], (u16, &'a str), &'a str);

#[tokio::test]
async fn a_malformed_body_is_rejected_with_its_fault() {
    let (_redis, factory) = start().await;
    let product = format!("/v1/products/{}", factory.product().await);
    let batch = format!("/v1/batches/{}", text(&factory.batch(1).await["id"]));
    let revoke = format!("{batch}/revoke");
    let large = format!(r#"{{"name":"{}","brand":"b"}}"#, "x".repeat(70_000));
    let deep = "[".repeat(2_000);
    let listed_batch = format!(r#"["{}",1,null,null,null]"#, product.trim_start_matches("/v1/products/"));
    let products = "/v1/products";
    let (bad, large_body, media) =
        ((400, "invalid-request"), (413, "content-too-large"), (415, "unsupported-media-type"));
    let table: Vec<Row<'_>> = vec![
        (Method::POST, products, JSON, b"", bad, ""),
        (Method::POST, products, JSON, b"{", bad, ""),
        (Method::POST, products, JSON, b"null", bad, ""),
        (Method::POST, products, JSON, b"[]", bad, ""),
        (Method::POST, products, JSON, br#"["n","b",null]"#, bad, "object"),
        (Method::POST, products, JSON, deep.as_bytes(), bad, ""),
        (Method::POST, products, JSON, b"{}", bad, "name"),
        (Method::POST, products, JSON, br#"{"name":"n"}"#, bad, "brand"),
        (Method::POST, products, JSON, br#"{"name":"n","brand":"b","x":1}"#, bad, "x"),
        (Method::POST, products, JSON, br#"{"name":"n","brand":"b","name":"m"}"#, bad, "name"),
        (Method::POST, products, JSON, br#"{"name":1,"brand":"b"}"#, bad, "name"),
        (Method::POST, products, JSON, br#"{"name":null,"brand":"b"}"#, bad, "name"),
        (Method::POST, products, JSON, br#"{"name":"n","brand":"b"} x"#, bad, ""),
        (Method::POST, products, JSON, b"{\"name\":\"\xff\",\"brand\":\"b\"}", bad, ""),
        (Method::POST, products, JSON, br#"{"name":"\ud800","brand":"b"}"#, bad, ""),
        (Method::POST, products, JSON, large.as_bytes(), large_body, ""),
        (Method::POST, products, "text/plain", br#"{"name":"n","brand":"b"}"#, media, ""),
        (Method::POST, products, "application/x-www-form-urlencoded", b"name=n&brand=b", media, ""),
        (Method::PATCH, &product, JSON, br#"{"gtin":1}"#, bad, "gtin"),
        (Method::PATCH, &product, JSON, br#"{"name":"a","name":"b"}"#, bad, "name"),
        (Method::PATCH, &product, JSON, br#"{"id":"a"}"#, bad, "id"),
        (Method::PATCH, &product, JSON, br#"["n","b",null]"#, bad, "object"),
        (Method::POST, "/v1/batches", JSON, listed_batch.as_bytes(), bad, "object"),
        (Method::POST, "/v1/batches", JSON, br#"{"product_id":"x","size":1}"#, bad, "product_id"),
        (Method::POST, "/v1/batches", JSON, br#"{"size":1}"#, bad, "product_id"),
        (Method::POST, &revoke, JSON, br#"{"reason":"r","reason":"s"}"#, bad, "reason"),
        (Method::POST, &revoke, JSON, br#"["r"]"#, bad, "object"),
        (Method::POST, &revoke, "text/plain", b"reason", media, ""),
        (Method::POST, "/v1/audit/verify", JSON, b"", bad, ""),
        (Method::POST, "/v1/audit/verify", JSON, b"[0,1]", bad, "object"),
        (Method::POST, "/v1/audit/verify", JSON, br#"{"from":-1}"#, bad, "from"),
        (Method::POST, "/v1/audit/verify", JSON, br#"{"form":1}"#, bad, "form"),
        (Method::POST, "/v1/audit/verify", "text/plain", br#"{"from":1}"#, media, ""),
    ];
    for (method, path, kind, body, (status, slug), named) in table {
        let request = factory.request(method.clone(), path).header("content-type", kind).body(body.to_vec());
        let answered = answer(request).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(answered.status, status, "{method} {path} {shown}: {answered:?}");
        let detail = answered.expect_problem(status, slug);
        assert!(detail.contains(named), "{method} {path} {shown}: {detail}");
    }
    factory.assert_chain_of(3).await;
}

#[tokio::test]
async fn a_body_without_a_media_type_is_rejected() {
    let (_redis, factory) = start().await;
    answer(factory.request(Method::POST, "/v1/products")).await.expect_problem(415, "unsupported-media-type");
    let typed = factory
        .request(Method::POST, "/v1/products")
        .header("content-type", "application/json; charset=utf-8");
    answer(typed.body(r#"{"name":"n","brand":"b"}"#)).await.expect(201);
}

#[tokio::test]
async fn an_unsupported_method_is_rejected_with_the_supported_ones() {
    let (_redis, factory) = start().await;
    let id = "019c6652-5e00-7000-8000-0000000000aa";
    for (method, path, allowed) in [
        (Method::PUT, "/v1/products".to_owned(), "POST"),
        (Method::DELETE, format!("/v1/products/{id}"), "PATCH"),
        (Method::POST, format!("/v1/batches/{id}"), "GET"),
        (Method::GET, format!("/v1/batches/{id}/revoke"), "POST"),
        (Method::POST, format!("/v1/batches/{id}/tags"), "GET"),
        (Method::GET, "/v1/audit/verify".to_owned(), "POST"),
        (Method::POST, "/v1/audit/head".to_owned(), "GET"),
    ] {
        let rejected = answer(factory.request(method.clone(), &path)).await;
        let allow = rejected.header("allow").to_owned();
        assert!(allow.contains(allowed) && !allow.contains(method.as_str()), "{method} {path}: {allow}");
        rejected.expect_problem(405, "method-not-allowed");
    }
    factory.get("/v2/products").await.expect_problem(404, "not-found");
}

const BAD: (u16, &str) = (400, "invalid-request");
const WRONG: (u16, &str) = (422, "unprocessable");

async fn check(factory: &Factory, path: &str, body: Value, problem: (u16, &str), begins: &str, holds: &str) {
    let detail = factory.post(path, &body).await.expect_problem(problem.0, problem.1);
    assert!(detail.starts_with(begins) && detail.contains(holds), "{body}: {detail}");
}

#[tokio::test]
async fn an_error_for_a_batch_names_the_value_the_allowed_values_and_an_example() {
    let (_redis, factory) = start().await;
    let product = factory.product().await;
    let years = "within the years 1900 to 9999, e.g. 2099-01-31T00:00:00Z";
    let instant = "RFC 3339, e.g. 2099-01-31T00:00:00Z";
    let unread = |field: &str| format!("the JSON body cannot be read: {field}: ");
    let nowhere = "019c6652-5e00-7000-8000-0000000000aa";
    for (field, value, problem, begins, holds) in [
        ("expires_at", json!("31.01.2027"), BAD, unread("expires_at"), instant),
        ("expires_at", json!("2027-01-31"), BAD, unread("expires_at"), instant),
        ("expires_at", json!(1), BAD, unread("expires_at"), instant),
        ("manufactured_at", json!("2027-02-30T00:00:00Z"), BAD, unread("manufactured_at"), instant),
        (
            "expires_at",
            json!("0027-01-31T00:00:00Z"),
            BAD,
            "expires_at is 0027-01-31T00:00:00.000Z; ".into(),
            years,
        ),
        (
            "manufactured_at",
            json!("1899-12-31T23:59:59Z"),
            BAD,
            "manufactured_at is 1899-12-31".into(),
            years,
        ),
        (
            "manufactured_at",
            json!("9999-12-31T23:59:59-01:00"),
            BAD,
            "manufactured_at is 9999-12-31".into(),
            years,
        ),
        ("size", json!(0), BAD, "size is 0; it takes 1 to 16777216".into(), "e.g. 1000"),
        ("size", json!("10"), BAD, unread("size"), "string \"10\", expected u64"),
        ("product_id", json!("none"), BAD, unread("product_id"), "e.g. \"product_id\": \"019c6652-"),
        ("product_id", json!(nowhere), WRONG, format!("product_id is {nowhere}, "), ", e.g. "),
    ] {
        let mut body = json!({"product_id": product, "size": 1});
        body[field] = value;
        check(&factory, "/v1/batches", body, problem, &begins, holds).await;
    }
    factory.assert_chain_of(1).await;
}

#[tokio::test]
async fn an_error_for_a_gtin_names_the_value_the_allowed_values_and_an_example() {
    let (_redis, factory) = start().await;
    for (gtin, problem, says) in [
        (
            "00000000",
            WRONG,
            "gtin is \"00000000\"; it takes a GTIN that GS1 has assigned, not all zeros, e.g. \"",
        ),
        ("000000000000", WRONG, "gtin is "),
        ("0000000000000", WRONG, "gtin is "),
        ("00000000000000", WRONG, "gtin is "),
        ("4006381333932", WRONG, "gtin is \"4006381333932\", whose check digit is wrong; it takes "),
        ("400638", BAD, "gtin is \"400638\"; it takes 8, 12, 13 or 14 digits, e.g. \""),
    ] {
        let body = json!({"name": "n", "brand": "b", "gtin": gtin});
        check(&factory, "/v1/products", body, problem, says, "e.g. \"4006381333931\"").await;
    }
    let says = "the JSON body is no object; it takes an object, e.g. {\"brand\":\"";
    check(&factory, "/v1/products", json!([]), BAD, says, "\"name\":\"").await;
    factory.assert_chain_of(0).await;
}

#[tokio::test]
async fn an_error_for_a_path_or_query_names_the_value_the_allowed_values_and_an_example() {
    let (_redis, factory) = start().await;
    for (path, begins, holds) in [
        ("/v1/products/none", "id in the path is \"none\"; it takes a UUID, e.g. 019c6652-", ""),
        (
            "/v1/products?limit=x",
            "limit in the query is \"x\"; it takes a whole number from 1 to 100",
            "e.g. limit=50",
        ),
        ("/v1/products?limit=0", "limit is 0; it takes 1 to 100, e.g. 50", ""),
        ("/v1/products?cursor=x", "cursor in the query is \"x\"; it takes a UUID", "e.g. cursor=019c6652-"),
        ("/v1/tags/none", "tag_id is \"none\"; it takes a hyphenated UUID", "e.g. 85e49ec3-"),
    ] {
        let slug = if path.starts_with("/v1/tags") { "invalid-tag-id" } else { "invalid-request" };
        let detail = factory.get(path).await.expect_problem(400, slug);
        assert!(detail.starts_with(begins) && detail.contains(holds), "{path}: {detail}");
    }
}
