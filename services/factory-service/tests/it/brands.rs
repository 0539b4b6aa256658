//! Verified brands and GTIN company prefixes of a tenant, which no other tenant may use.

use reqwest::Method;
use serde_json::{Value, json};

use crate::isolation::{brand, send};
use crate::support::{Answer, Factory, SLOWLY, rounds, start, start_behind_proxy, text};

const GTIN: &str = "4006381333931";

async fn update(factory: &Factory, tenant: &str, patch: Value) -> Answer {
    factory.patch(&format!("/v1/admin/tenants/{tenant}"), &patch).await
}

async fn product(factory: &Factory, key: &str, brand: &str, gtin: Option<&str>) -> Answer {
    let body = json!({"name": "n", "brand": brand, "gtin": gtin});
    send(factory, key, Method::POST, "/v1/products", Some(&body)).await
}

#[tokio::test]
async fn a_tenants_brands_prefixes_and_quota_are_set_shown_and_audited() {
    let (_redis, factory) = start().await;
    brand(&factory, "acme").await;
    let patch = json!({
        "name": "Acme Ltd", "brands": ["Acme", "Ácme"], "gtin_prefixes": ["4006381"], "max_batches": 7
    });
    let changed = update(&factory, "acme", patch.clone()).await.expect(200);
    assert_eq!(factory.get("/v1/admin/tenants/acme").await.expect(200), changed);
    for (name, value) in patch.as_object().unwrap() {
        assert_eq!(&changed[name], value, "{name}");
    }
    assert_eq!(update(&factory, "acme", json!({"brands": ["Acme", "Ácme"]})).await.expect(200), changed);
    let cleared = json!({"name": null, "brands": [], "gtin_prefixes": [], "max_batches": null});
    let cleared = update(&factory, "acme", cleared).await.expect(200);
    assert!(cleared.get("name").is_none());
    assert_eq!((&cleared["brands"], &cleared["gtin_prefixes"]), (&json!([]), &json!([])));
    assert_eq!(cleared["max_batches"], 100_000);
    let events = factory.events().await;
    let updates: Vec<&Value> = events.iter().filter(|event| event["action"] == "tenant.updated").collect();
    assert_eq!(updates.len(), 2, "a patch that changes nothing appends no event");
    assert_eq!((&updates[0]["tenant"], &updates[0]["resource"]), (&json!("acme"), &json!("tenant/acme")));
    let details = json!({
        "name": "Acme Ltd", "brands": r#"["Acme","Ácme"]"#,
        "gtin_prefixes": r#"["4006381"]"#, "max_batches": 7
    });
    assert_eq!(updates[0]["details"], details);
    let none = json!({"name": null, "brands": "[]", "gtin_prefixes": "[]", "max_batches": 100_000});
    assert_eq!(updates[1]["details"], none);
}

#[tokio::test]
async fn the_operators_own_tenant_can_be_named_and_stays_active() {
    let (_redis, factory) = start().await;
    let changed =
        update(&factory, "default", json!({"name": "The Works", "brands": ["Works"]})).await.expect(200);
    assert_eq!((&changed["state"], changed.get("created_at")), (&json!("active"), None));
    let items = factory.get("/v1/admin/tenants").await.expect(200)["items"].clone();
    assert_eq!(items, json!([changed]));
    factory.post("/v1/admin/tenants", &json!({"id": "default"})).await.expect_problem(409, "conflict");
    factory
        .post("/v1/admin/tenants/default/suspend", &json!({"reason": "r"}))
        .await
        .expect_problem(409, "conflict");
    let key = brand(&factory, "other").await;
    product(&factory, &key, "works", None).await.expect_problem(422, "unprocessable");
    assert_eq!(product(&factory, crate::support::KEY, "works", None).await.status, 201);
}

#[tokio::test]
async fn a_tenant_cannot_use_anothers_brand_or_a_lookalike() {
    let (_redis, factory) = start().await;
    let (one, two) = (brand(&factory, "one").await, brand(&factory, "two").await);
    update(&factory, "one", json!({"brands": ["Acme"], "gtin_prefixes": ["4006381"]})).await.expect(200);
    for name in
        ["Acme", "ACME", " acme ", "Ａｃｍｅ", "Αcme", "АСМЕ", "Acrne", "Ac\u{301}me".trim_matches('\u{301}')]
    {
        let rejected = product(&factory, &two, name, None).await;
        if name.contains('\u{301}') {
            assert_eq!(rejected.status, 201, "{name} is another brand");
            continue;
        }
        let why = rejected.expect_problem(422, "unprocessable");
        assert!(why.starts_with("brand ") && !why.contains("one"), "{why} does not name the other tenant");
    }
    for gtin in [GTIN, "04006381333931", "14006381333938"] {
        let why = product(&factory, &two, "Other", Some(gtin)).await.expect_problem(422, "unprocessable");
        assert!(why.starts_with("gtin "), "{why}");
    }
    let path = product(&factory, &two, "Other", None).await.header("location").to_owned();
    for patch in [json!({"brand": "Acme"}), json!({"gtin": GTIN})] {
        send(&factory, &two, Method::PATCH, &path, Some(&patch)).await.expect_problem(422, "unprocessable");
    }
    assert_eq!(product(&factory, &one, "ACME", Some(GTIN)).await.status, 201, "the owner may use it");
    assert_eq!(product(&factory, &two, "Acme Tools", Some("96385074")).await.status, 201);
    update(&factory, "one", json!({"brands": [], "gtin_prefixes": []})).await.expect(200);
    assert_eq!(product(&factory, &two, "Acme", Some(GTIN)).await.status, 201, "a removed claim is free");
    update(&factory, "two", json!({"brands": ["Acme"], "gtin_prefixes": ["400638133"]})).await.expect(200);
}

#[tokio::test]
async fn two_tenants_never_have_confusable_brands_or_overlapping_prefixes() {
    let (_redis, factory) = start().await;
    for tenant in ["one", "two"] {
        brand(&factory, tenant).await;
    }
    update(&factory, "one", json!({"brands": ["Acme", "Nike"], "gtin_prefixes": ["4006381", "9600"]}))
        .await
        .expect(200);
    for (member, taken) in [
        ("brands", json!(["Other", "acme"])),
        ("brands", json!(["N1KE"])),
        ("gtin_prefixes", json!(["4006381"])),
        ("gtin_prefixes", json!(["4006"])),
        ("gtin_prefixes", json!(["40063813", "1234"])),
        ("gtin_prefixes", json!(["96001234"])),
    ] {
        let why = update(&factory, "two", json!({member: taken})).await.expect_problem(422, "unprocessable");
        assert!(why.starts_with(member) && why.contains("tenant one"), "{why}");
    }
    update(&factory, "two", json!({"brands": ["Other"], "gtin_prefixes": ["4006382", "9601"]}))
        .await
        .expect(200);
    // A tenant may rewrite its own brands and split its own prefixes.
    update(&factory, "one", json!({"brands": ["ACME"], "gtin_prefixes": ["400638", "9600"]}))
        .await
        .expect_problem(422, "unprocessable");
    update(&factory, "one", json!({"brands": ["ACME"], "gtin_prefixes": ["40063812", "40063813"]}))
        .await
        .expect(200);
    update(&factory, "two", json!({"brands": ["Nike"], "gtin_prefixes": ["40063810", "9600"]}))
        .await
        .expect(200);
    for wrong in [
        json!({}),
        json!({"brands": null}),
        json!({"brands": [""]}),
        json!({"gtin_prefixes": ["12"]}),
        json!({"max_batches": -1}),
        json!({"max_batches": 16_777_217}),
        json!({"id": "x"}),
        json!({"name": ""}),
    ] {
        update(&factory, "two", wrong).await.expect_problem(400, "invalid-request");
    }
    for twice in [json!({"brands": ["A", "a"]}), json!({"gtin_prefixes": ["4006", "40061"]})] {
        update(&factory, "two", twice).await.expect_problem(422, "unprocessable");
    }
    update(&factory, "nobody", json!({"name": "x"})).await.expect_problem(404, "not-found");
}

/// Both requests read before either of them writes.
#[tokio::test]
async fn of_two_concurrent_claims_of_one_brand_one_is_rejected() {
    let (_redis, proxy, factory) = start_behind_proxy().await;
    for tenant in ["one", "two"] {
        brand(&factory, tenant).await;
    }
    proxy.delay(SLOWLY);
    for (first, second) in [
        (json!({"brands": ["Acme"]}), json!({"brands": ["АСМЕ"]})),
        (json!({"gtin_prefixes": ["4006"]}), json!({"gtin_prefixes": ["400638"]})),
    ] {
        let (one, two) = tokio::join!(update(&factory, "one", first), update(&factory, "two", second));
        let mut statuses = [one.status, two.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 422], "{one:?} {two:?}");
    }
}

#[tokio::test]
async fn a_product_is_never_created_with_a_brand_claimed_at_the_same_time() {
    let (_redis, proxy, factory) = start_behind_proxy().await;
    let (_one, two) = (brand(&factory, "one").await, brand(&factory, "two").await);
    proxy.delay(SLOWLY);
    for round in 0..rounds(6) {
        let name = format!("Brand {round}");
        let claim = update(&factory, "one", json!({"brands": [name]}));
        let (claimed, made) = tokio::join!(claim, product(&factory, &two, &name, None));
        assert_eq!(claimed.status, 200, "{claimed:?}");
        let events = factory.events().await;
        let seq = |action: &str| events.iter().rposition(|event| event["action"] == action);
        match made.status {
            // The product was created before the claim.
            201 => assert!(seq("product.created") < seq("tenant.updated"), "round {round}"),
            status => assert_eq!(status, 422, "{made:?}"),
        }
    }
}

#[tokio::test]
async fn an_older_product_with_a_claimed_brand_can_only_be_changed_to_another_brand() {
    let (_redis, factory) = start().await;
    let (_one, two) = (brand(&factory, "one").await, brand(&factory, "two").await);
    let path = product(&factory, &two, "Acme", None).await.header("location").to_owned();
    update(&factory, "one", json!({"brands": ["Acme"]})).await.expect(200);
    let patch = async |patch: Value| send(&factory, &two, Method::PATCH, &path, Some(&patch)).await;
    patch(json!({"name": "Genuine"})).await.expect_problem(422, "unprocessable");
    assert_eq!(patch(json!({"brand": "Two"})).await.status, 200);
}

#[tokio::test]
async fn a_tenant_may_replace_all_its_claims_at_once() {
    let (_redis, factory) = start().await;
    brand(&factory, "one").await;
    let all = |letter: char, first: u32| {
        let brands: Vec<String> = (0..50).map(|i| format!("{letter}IO {i}")).collect();
        let prefixes: Vec<String> = (0..50).map(|i| format!("{:05}", first + i)).collect();
        json!({"brands": brands, "gtin_prefixes": prefixes})
    };
    for (letter, first) in [('X', 40_000), ('Y', 50_000), ('Ж', 40_000)] {
        let changed = update(&factory, "one", all(letter, first)).await.expect(200);
        assert_eq!(changed["brands"].as_array().unwrap().len(), 50);
    }
    // The brands that take the most bytes in an event.
    let worst: Vec<String> = (0..50).map(|i| format!("{}{i}", "\"".repeat(50))).collect();
    update(&factory, "one", json!({"brands": worst})).await.expect(200);
    assert_eq!(text(&factory.get("/v1/admin/tenants/one").await.json()["id"]), "one");
}
