//! Each report is one audit event of the tag's owner.

use std::num::NonZeroUsize;

use audit_chain::AuditLog;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{App, open, send};
use crate::shop::{ORIGIN, SIZE, Shop, TENANT, pool};

async fn events(shop: &Shop) -> Vec<Value> {
    let log = AuditLog::new(pool(&shop.redis.url()), ORIGIN);
    let report = log.verify(0..u64::MAX).await.unwrap();
    assert!(report.ok, "{report:?}");
    let page = log.entries(None, NonZeroUsize::new(1_000).unwrap()).await.unwrap();
    assert_eq!((page.next, page.events.len() as u64), (None, report.checked));
    page.events.iter().map(|entry| serde_json::from_str(entry.event.get()).unwrap()).collect()
}

fn body(tag: impl ToString, reason: &str) -> Value {
    json!({"tag_id": tag.to_string(), "reason": reason})
}

#[tokio::test]
async fn a_report_is_one_event_of_the_tags_owner() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let details = "Le flacon est «vide»\nand light. 🧴";
    let sent =
        json!({"tag_id": shop.tag(4).crockford().to_lowercase(), "reason": "mismatch", "details": details});
    let request = app.request(Method::POST, "/v1/report").header("x-request-id", "report-1").json(&sent);
    let answer = send(request).await;
    assert_eq!((answer.status, answer.json()), (202, json!({"status": "received"})), "{}", answer.text);
    assert_eq!(answer.rate().remaining, 99);
    let events = events(&shop).await;
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!(event["action"], "report.received");
    assert_eq!((&event["tenant"], &event["request_id"]), (&json!(TENANT), &json!("report-1")));
    assert_eq!(event["resource"], format!("tag/{}", shop.tag(4)));
    assert_eq!(event["details"], json!({"reason": "mismatch", "details": details}));
    assert_eq!(event["id"].as_str().unwrap().parse::<uuid::Uuid>().unwrap().get_version_num(), 7);
    assert_eq!(event.get("ip"), None, "the reporter's address is not kept");
    assert_eq!(app.metric("voketag_audit_appends_total{result=\"ok\"}").await, 1);
    assert_eq!(app.scan(shop.tag(4)).await.verdict()["scan_count"], 1, "a report does not count as a scan");
}

#[tokio::test]
async fn every_reason_is_accepted_and_details_have_a_limit() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let tag = shop.tag(0).to_string();
    let reasons = ["counterfeit", "damaged", "mismatch", "stolen", "other"];
    for reason in reasons {
        assert_eq!(app.post_json("/v1/report", &body(&tag, reason)).await.status, 202, "{reason}");
    }
    let mut long = body(&tag, "other");
    long["details"] = json!("é".repeat(1_000));
    assert_eq!(app.post_json("/v1/report", &long).await.status, 202);
    long["details"] = json!("é".repeat(1_001));
    app.post_json("/v1/report", &long).await.assert_problem(400, "invalid-request");
    long["details"] = json!("  ");
    assert_eq!(app.post_json("/v1/report", &long).await.status, 202);
    long["details"] = json!(null);
    assert_eq!(app.post_json("/v1/report", &long).await.status, 202);
    let events = events(&shop).await;
    let taken: Vec<&str> = events.iter().map(|event| event["details"]["reason"].as_str().unwrap()).collect();
    assert_eq!(taken[..5], reasons);
    assert_eq!(events.len(), 8);
    assert_eq!(events[6]["details"], json!({"reason": "other"}), "blank details are omitted");
}

#[tokio::test]
async fn a_rejected_report_leaves_no_event() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "2")]).await;
    let assert_rejected = async |sent: Value, status: u16, slug: &str| {
        let answer = app.post_json("/v1/report", &sent).await;
        answer.assert_problem(status, slug);
        answer
    };
    let forged = "85e49ec3-de12-8001-bccf-0ce2e6986016";
    assert!(!assert_rejected(body(forged, "other"), 404, "tag-not-found").await.has_rate());
    assert_rejected(body("nonsense", "other"), 400, "invalid-tag-id").await;
    assert_rejected(body(shop.tag(0), "theft"), 400, "invalid-request").await;
    assert_rejected(body(shop.tag(0), "Other"), 400, "invalid-request").await;
    assert_rejected(json!({"tag_id": shop.tag(0).to_string()}), 400, "invalid-request").await;
    assert_rejected(json!({"reason": "other"}), 400, "invalid-request").await;
    let unknown = json!({"tag_id": shop.tag(0).to_string(), "reason": "other", "tenant": "x"});
    assert_rejected(unknown, 400, "invalid-request").await;
    assert_eq!(
        assert_rejected(body(shop.tag(SIZE), "other"), 404, "tag-not-found").await.rate().remaining,
        1
    );
    let of_no_key = shop.tag_of(tag_id::Epoch::new(9).unwrap(), shop.batch.batch_no, 0);
    assert!(!assert_rejected(body(of_no_key, "other"), 404, "tag-not-found").await.has_rate());
    assert_eq!(events(&shop).await, Vec::<Value>::new());

    assert_eq!(app.post_json("/v1/report", &body(shop.tag(0), "other")).await.status, 202);
    assert_rejected(body(shop.tag(0), "other"), 429, "rate-limited").await;
    assert_eq!(events(&shop).await.len(), 1);
}

#[tokio::test]
async fn concurrent_reports_of_two_instances_make_one_chain() {
    const EACH: usize = 20;
    let shop = Shop::open().await;
    let apps: [App; 2] = [open(&shop, &[]).await, open(&shop, &[]).await];
    let mut running = tokio::task::JoinSet::new();
    for (tag, app) in apps.iter().enumerate() {
        for _ in 0..EACH {
            let sent = body(shop.tag(u32::try_from(tag).unwrap()), "other");
            running.spawn(send(app.request(Method::POST, "/v1/report").json(&sent)));
        }
    }
    for answer in running.join_all().await {
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    assert_eq!(events(&shop).await.len(), 2 * EACH);
}

#[tokio::test]
async fn a_report_by_form_is_the_same_event() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let path = format!("/t/{}/report", shop.tag(0));
    // 1,000 characters if a browser's CR LF counts as one character.
    let lines = format!("{}\r\n{}", "a".repeat(499), "b".repeat(500));
    let answer = app.post_form(&path, &[("reason", "stolen"), ("details", &lines)]).await;
    answer.assert_page(202);
    assert!(answer.text.contains(answer.header("x-request-id").unwrap()), "the page names its reference");
    assert_eq!(answer.rate().remaining, 99);
    assert!(answer.text.contains(&format!("href=\"/t/{}\"", shop.tag(0))), "{}", answer.text);
    app.post_form(&path, &[("reason", "other"), ("details", "")]).await.assert_page(202);
    let events = events(&shop).await;
    assert_eq!(events[0]["details"], json!({"reason": "stolen", "details": lines.replace("\r\n", "\n")}));
    assert_eq!(events[1]["details"], json!({"reason": "other"}));
    assert_eq!(events.len(), 2);

    let long = "a".repeat(1_001);
    for (path, fields, status) in [
        (path.as_str(), &[("reason", "other"), ("details", long.as_str())][..], 400),
        (&path, &[("reason", "theft")], 400),
        (&path, &[("details", "x")], 400),
        (&path, &[("reason", "other"), ("reason", "stolen")], 400),
        (&path, &[("reason", "other"), ("tag_id", "x")], 400),
        ("/t/%FF/report", &[("reason", "other")], 400),
    ] {
        app.post_form(path, fields).await.assert_page(status);
    }
    send(app.request(Method::POST, &path).json(&json!({"reason": "other"}))).await.assert_page(415);
}

#[tokio::test]
async fn a_get_of_the_form_address_redirects_to_the_tag() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let plain = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for text in [shop.tag(0).to_string(), shop.tag(0).crockford().to_string()] {
        let sent = send(plain.get(app.url(&format!("/t/{text}/report")))).await;
        let tag = format!("/t/{}", shop.tag(0));
        assert_eq!((sent.status, sent.header("location")), (303, Some(tag.as_str())));
    }
    for odd in ["nonsense", "%FF", "%2F%2Fevil.example"] {
        send(plain.get(app.url(&format!("/t/{odd}/report")))).await.assert_page(400);
    }
    assert_eq!(
        app.scan(shop.tag(0)).await.verdict()["scan_count"],
        1,
        "the redirect does not count as a scan"
    );
}

#[tokio::test]
async fn a_tag_takes_twenty_reports_a_day() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let (first, second) = (body(shop.tag(0), "other"), body(shop.tag(1), "other"));
    let sent = futures_util::future::join_all((0..30).map(|_| app.post_json("/v1/report", &first))).await;
    let taken = sent.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(taken, 20);
    for rejected in sent.iter().filter(|answer| answer.status != 202) {
        rejected.assert_problem(429, "rate-limited");
        assert!((1..=86_400).contains(&rejected.retry_after()), "{}", rejected.retry_after());
        assert!(rejected.text.contains("this tag was reported"), "{}", rejected.text);
    }
    app.post_form(&format!("/t/{}/report", shop.tag(0)), &[("reason", "other")]).await.assert_page(429);
    assert_eq!(app.post_json("/v1/report", &second).await.status, 202, "a report of another tag");
    assert_eq!(events(&shop).await.len(), 21);
    let counters = crate::shop::keys(&shop.redis, "vt1:trr:*").await;
    assert_eq!(counters.len(), 2);
    for key in counters {
        let ttl: i64 =
            redis::cmd("TTL").arg(key).query_async(&mut shop.redis.connection().await).await.unwrap();
        assert!((86_400..=172_800).contains(&ttl), "{ttl}");
    }
}

#[tokio::test]
async fn details_may_have_several_lines_and_never_reorder_the_text_around_them() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let sent =
        |details: &str| json!({"tag_id": shop.tag(0).to_string(), "reason": "other", "details": details});
    for (unfit, code) in [
        ("a\u{202e}b", "U+202E"),
        ("a\u{2066}b", "U+2066"),
        ("a\u{2028}b", "U+2028"),
        ("a\u{1b}[2Jb", "U+001B"),
        ("a\rb", "U+000D"),
    ] {
        let answer = app.post_json("/v1/report", &sent(unfit)).await;
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (400, Some("invalid_request")),
            "{detail}"
        );
        assert!(
            detail.starts_with("details is \"a") && detail.contains(code) && !detail.contains(unfit),
            "{detail}"
        );
        assert!(
            detail.contains("; it takes up to 1000 characters") && detail.contains(", e.g. \""),
            "{detail}"
        );
    }
    let nothing = app.post_json("/v1/report", &sent(" \u{200b}\n\u{2800}")).await;
    let lines = app.post_json("/v1/report", &sent("one\r\ntwo\tthree")).await;
    // People can neither see nor remove the controls that a phone adds to copied text.
    let form = [("reason", "other"), ("details", "\u{202a}+49 30 1\u{202c}\r\nציטוט\u{200f}")];
    let by_page = send(app.request(Method::POST, &format!("/t/{}/report", shop.tag(0))).form(&form)).await;
    assert_eq!([nothing.status, lines.status, by_page.status], [202; 3]);
    let kept: Vec<Value> =
        events(&shop).await.iter().map(|event| event["details"]["details"].clone()).collect();
    assert_eq!(kept, [Value::Null, json!("one\ntwo\tthree"), json!("+49 30 1\nציטוט")]);
}
