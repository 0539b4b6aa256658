//! Input that cannot be read is refused in the words of the contract, and leaves no event.

use reqwest::Method;

use crate::support::{answer, start, text};

const JSON: &str = "application/json";

/// Method, path, media type, body, the refusal, and what its detail names.
type Row<'a> = (Method, &'a str, &'a str, &'a [u8], (u16, &'a str), &'a str);

#[tokio::test]
async fn bodies_that_cannot_be_read_are_named_for_what_they_are() {
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
        let detail = answered.refused(status, slug);
        assert!(detail.contains(named), "{method} {path} {shown}: {detail}");
    }
    factory.assert_chain_of(3).await;
}

#[tokio::test]
async fn a_body_without_a_media_type_is_refused_where_one_is_needed() {
    let (_redis, factory) = start().await;
    answer(factory.request(Method::POST, "/v1/products")).await.refused(415, "unsupported-media-type");
    let typed = factory
        .request(Method::POST, "/v1/products")
        .header("content-type", "application/json; charset=utf-8");
    answer(typed.body(r#"{"name":"n","brand":"b"}"#)).await.expect(201);
}

#[tokio::test]
async fn methods_that_a_path_does_not_take_are_refused_with_those_it_does() {
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
        let refused = answer(factory.request(method.clone(), &path)).await;
        let allow = refused.header("allow").to_owned();
        assert!(allow.contains(allowed) && !allow.contains(method.as_str()), "{method} {path}: {allow}");
        refused.refused(405, "method-not-allowed");
    }
    factory.get("/v2/products").await.refused(404, "not-found");
}
