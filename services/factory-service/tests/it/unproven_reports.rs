//! Reports of codes that are not minted tags: operators list them in pages, and each page is an audit event.

use std::time::Duration;

use ambient::from_unix_millis;
use ambient::{Clock, SystemClock};
use catalog::{UnprovenReport, keys};
use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::isolation::{brand, send};
use crate::support::start;

#[tokio::test]
async fn operators_list_reports_in_pages_and_each_page_is_an_event() {
    let (redis, factory) = start().await;
    let now = from_unix_millis(SystemClock::new().unix_millis());
    let mut link = redis.connection().await;
    // The first report is older than the retention time.
    for (n, age) in [(0_u32, 31 * 24 * 60 * 60), (1, 30), (2, 20), (3, 10)] {
        let reported_at = (now - Duration::from_secs(age)).replace_millisecond(0).unwrap();
        let millis = u64::try_from(reported_at.unix_timestamp_nanos() / 1_000_000).unwrap();
        let report = UnprovenReport {
            id: ambient::uuid_v7(millis),
            reported_at,
            code: format!("c{n}"),
            reason: "counterfeit".to_owned(),
            details: (n == 2).then(|| "from a market stall".to_owned()),
            request_id: format!("r{n}"),
        };
        let member = format!("{}{}", report.id, serde_json::to_string(&report).unwrap());
        let () = link.zadd(keys::UNPROVEN_REPORTS, member, 0).await.unwrap();
    }
    let first = factory.get("/v1/admin/unproven-reports?limit=2").await.expect(200);
    let codes = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["code"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(codes(&first), ["c1", "c2"]);
    assert_eq!(first["items"][1]["details"], "from a market stall");
    assert_eq!(
        (&first["items"][0]["reason"], &first["items"][0]["request_id"]),
        (&json!("counterfeit"), &json!("r1"))
    );
    assert_eq!(first["items"][0].get("details"), None);
    let at = first["items"][0]["reported_at"].as_str().unwrap();
    assert!(at.ends_with('Z') && at.len() == "2026-01-01T00:00:00.000Z".len(), "{at}");
    let next = first["next_cursor"].as_str().unwrap();
    let last = factory.get(&format!("/v1/admin/unproven-reports?limit=2&cursor={next}")).await.expect(200);
    assert_eq!((codes(&last), last.get("next_cursor")), (vec!["c3".to_owned()], None));
    for query in ["limit=0", "limit=101", "cursor=x", "page=2"] {
        let rejected = factory.get(&format!("/v1/admin/unproven-reports?{query}")).await;
        rejected.expect_problem(400, "invalid-request");
    }
    let events = factory.get("/v1/audit/events").await.expect(200);
    let listed: Vec<&Value> =
        events["events"].as_array().unwrap().iter().map(|entry| &entry["event"]).collect();
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(listed.iter().all(|event| event["action"] == "unproven_report.listed"), "{listed:?}");
    assert_eq!(listed[0]["resource"], "unproven-report/*");

    let key = brand(&factory, "acme").await;
    let foreign = send(&factory, &key, reqwest::Method::GET, "/v1/admin/unproven-reports", None).await;
    foreign.expect_problem(403, "forbidden");
}
