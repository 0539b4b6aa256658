//! The metric of the API keys that expire soon.

use ambient::{Clock, SystemClock};
use serde_json::{Value, json};
use test_support::eventually;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::{Factory, SOON, start, text};

fn now() -> OffsetDateTime {
    ambient::from_unix_millis(SystemClock::new().unix_millis())
}

/// Creates a key of the tenant that ends in that many days, or never.
async fn key(factory: &Factory, tenant: &str, days: Option<i64>) -> Value {
    let end = days.map(|days| now() + time::Duration::days(days));
    let end = end.map(|end| end.replace_nanosecond(0).unwrap().format(&Rfc3339).unwrap());
    let body = match end {
        Some(end) => json!({"tenant": tenant, "scopes": ["factory:read"], "expires_at": end}),
        None => json!({"tenant": tenant, "scopes": ["factory:read"]}),
    };
    factory.post("/v1/admin/keys", &body).await.expect(201)
}

#[tokio::test]
async fn valid_keys_that_end_within_14_days_are_counted_and_a_rotated_one_once() {
    let (redis, factory) = start().await;
    assert_eq!(factory.metric("voketag_api_keys_expiring").await, "0");
    factory.post("/v1/admin/tenants", &json!({"id": "acme"})).await.expect(201);
    for (tenant, days) in [("default", Some(13)), ("acme", Some(1)), ("acme", Some(15)), ("acme", None)] {
        key(&factory, tenant, days).await;
    }
    let (revoked, rotated) = (key(&factory, "acme", Some(2)).await, key(&factory, "acme", Some(3)).await);
    let path = format!("/v1/admin/keys/{}/revoke", text(&revoked["id"]));
    factory.post(&path, &json!({"reason": "test"})).await.expect(200);
    let path = format!("/v1/admin/keys/{}/rotate", text(&rotated["id"]));
    factory.post(&path, &json!({"overlap_s": 3600})).await.expect(201);

    // Another process counts at its start.
    let other = Factory::start(&redis.url(), &[("DEPLOYMENT_INIT", "never")]).await;
    let counted = async || other.metric("voketag_api_keys_expiring").await != "0";
    eventually("the keys are counted", SOON, counted).await;
    assert_eq!(other.metric("voketag_api_keys_expiring").await, "3");
}
