//! Products: create, show, list and change.

use serde_json::json;

use crate::support::{SLOWLY, start, start_behind_proxy, text};

#[tokio::test]
async fn a_product_is_created_shown_listed_and_changed() {
    let (_redis, factory) = start().await;
    let wanted = json!({"name": "Rain jacket", "brand": "Nörthern", "gtin": "4006381333931"});
    let made = factory.post("/v1/products", &wanted).await;
    let location = made.header("location").to_owned();
    let product = made.expect(201);
    let id = text(&product["id"]);
    assert_eq!(location, format!("/v1/products/{id}"));
    assert_eq!(id.as_bytes()[14], b'7', "a UUIDv7");
    assert_eq!(product["gtin"], "4006381333931");
    assert_eq!(factory.get(&location).await.expect(200), product);

    let changed = factory.patch(&location, &json!({"name": "Coat", "gtin": null})).await.expect(200);
    assert_eq!((&changed["name"], &changed["brand"]), (&json!("Coat"), &json!("Nörthern")));
    assert!(changed.get("gtin").is_none());
    assert_eq!(changed["created_at"], product["created_at"]);
    assert_eq!(factory.get(&location).await.expect(200), changed);
    assert_eq!(factory.get("/v1/products").await.expect(200)["items"], json!([changed]));

    let resource = format!("product/{id}");
    let expected = [("product.created", &resource), ("product.updated", &resource)];
    assert_eq!(factory.history().await, expected.map(|(action, on)| (action.to_owned(), on.clone())));
    let events = factory.events().await;
    assert_eq!(
        events[0]["details"],
        json!({"name": "Rain jacket", "brand": "Nörthern", "gtin": "4006381333931"})
    );
    assert_eq!(events[1]["details"], json!({"name": "Coat", "gtin": null}));
    factory.assert_chain_of(2).await;
}

#[tokio::test]
async fn a_patch_that_changes_nothing_appends_no_event() {
    let (_redis, factory) = start().await;
    let path = format!("/v1/products/{}", factory.product().await);
    let before = factory.get(&path).await.expect(200);
    for same in [json!({"name": "Rain jacket"}), json!({"gtin": null, "brand": "Northern"})] {
        assert_eq!(factory.patch(&path, &same).await.expect(200), before);
    }
    factory.assert_chain_of(1).await;
}

#[tokio::test]
async fn a_wrong_check_digit_is_unprocessable_and_other_faults_are_malformed() {
    let (_redis, factory) = start().await;
    let path = format!("/v1/products/{}", factory.product().await);
    let with_gtin = |gtin: &str| json!({"name": "n", "brand": "b", "gtin": gtin});
    let wrong =
        factory.post("/v1/products", &with_gtin("4006381333932")).await.expect_problem(422, "unprocessable");
    assert!(wrong.starts_with("gtin "), "{wrong}");
    factory.patch(&path, &json!({"gtin": "4006381333932"})).await.expect_problem(422, "unprocessable");
    let short = factory.post("/v1/products", &with_gtin("123")).await.expect_problem(400, "invalid-request");
    assert!(short.starts_with("gtin "), "{short}");
    for empty in [json!({}), json!({"name": null}), json!({"name": ""}), json!({"brand": " "})] {
        factory.patch(&path, &empty).await.expect_problem(400, "invalid-request");
    }
    factory.assert_chain_of(1).await;
}

#[tokio::test]
async fn names_are_counted_in_characters() {
    let (_redis, factory) = start().await;
    let named = |name: String| json!({"name": name, "brand": "b"});
    factory.post("/v1/products", &named("ü".repeat(200))).await.expect(201);
    let long =
        factory.post("/v1/products", &named("ü".repeat(201))).await.expect_problem(400, "invalid-request");
    assert!(long.contains("name has 201 characters"), "{long}");
    factory.post("/v1/products", &named("a\nb".to_owned())).await.expect_problem(400, "invalid-request");
}

#[tokio::test]
async fn pages_of_a_list_contain_each_item_once() {
    let (_redis, factory) = start().await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(factory.product().await);
    }
    made.sort();
    let (mut seen, mut query) = (Vec::new(), "?limit=3".to_owned());
    loop {
        let page = factory.get(&format!("/v1/products{query}")).await.expect(200);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        seen.extend(items.iter().map(|item| text(&item["id"])));
        match page.get("next_cursor") {
            Some(cursor) => query = format!("?limit=3&cursor={}", text(cursor)),
            None => break,
        }
    }
    assert_eq!(seen, made);
    let exactly = factory.get("/v1/products?limit=7").await.expect(200);
    assert!(exactly.get("next_cursor").is_none());
    for wrong in
        ["limit=0", "limit=101", "limit=-1", "limit=x", "cursor=x", "cursr=1", "limit=1&limit=2", "limit="]
    {
        factory.get(&format!("/v1/products?{wrong}")).await.expect_problem(400, "invalid-request");
        factory.get(&format!("/v1/batches?{wrong}")).await.expect_problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn an_unknown_product_is_not_found() {
    let (_redis, factory) = start().await;
    let unknown = "/v1/products/019c6652-5e00-7000-8000-0000000000aa";
    factory.get(unknown).await.expect_problem(404, "not-found");
    factory.patch(unknown, &json!({"name": "x"})).await.expect_problem(404, "not-found");
    factory.get("/v1/products/nonsense").await.expect_problem(400, "invalid-request");
    factory.assert_chain_of(0).await;
}

#[tokio::test]
async fn concurrent_patches_are_all_applied() {
    let (_redis, proxy, factory) = start_behind_proxy().await;
    let path = format!("/v1/products/{}", factory.product().await);
    let patches = [json!({"name": "new name"}), json!({"brand": "new brand"}), json!({"gtin": "96385074"})];
    proxy.delay(SLOWLY);
    let (name, brand, gtin) = tokio::join!(
        factory.patch(&path, &patches[0]),
        factory.patch(&path, &patches[1]),
        factory.patch(&path, &patches[2]),
    );
    assert_eq!((name.status, brand.status, gtin.status), (200, 200, 200));
    let product = factory.get(&path).await.expect(200);
    assert_eq!(product["name"], "new name");
    assert_eq!(product["brand"], "new brand");
    assert_eq!(product["gtin"], "96385074");
    factory.assert_chain_of(4).await;
}

#[tokio::test]
async fn concurrent_changes_of_a_product_all_succeed_or_report_a_conflict() {
    let (_redis, factory) = start().await;
    let path = format!("/v1/products/{}", factory.product().await);
    let (factory, path) = (&factory, path.as_str());
    let changes = (0..16)
        .map(|number| async move { factory.patch(path, &json!({"name": format!("Coat {number}")})).await });
    let mut changed = 0;
    for answer in futures_util::future::join_all(changes).await {
        if answer.status == 200 {
            changed += 1;
        } else {
            let detail = answer.expect_problem(409, "conflict");
            assert!(detail.contains("other requests changed the product"), "{detail}");
        }
    }
    assert!(changed > 0, "each round of attempts has a winner");
    factory.assert_chain_of(1 + changed).await;
    let (events, product) = (factory.events().await, factory.get(path).await.expect(200));
    for field in ["name", "brand"] {
        let last = events.iter().rev().find_map(|event| event["details"].get(field)).unwrap();
        assert_eq!(product[field], *last, "no change of {field} is lost");
    }
}
