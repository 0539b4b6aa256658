//! Reports of codes that are not ours: in a bounded list for the operator, never in the audit chain, and
//! charged to the client's quota.

use std::time::Duration;

use catalog::unproven::{KEPT_FOR, MAX_CODE, MOST_REPORTS};
use catalog::{Catalog, UnprovenReport, keys};
use redis::AsyncCommands;

use crate::app::{App, open};
use crate::shop::{SIZE, Shop, now, pool};

const FORGED: &str = "85e49ec3-de12-8001-bccf-0ce2e6986016";

async fn listed(shop: &Shop) -> Vec<UnprovenReport> {
    Catalog::new(pool(&shop.redis.url())).unproven_reports(None, 2_000, now()).await.unwrap().items
}

async fn appended(app: &App) -> u64 {
    app.metric("voketag_audit_appends_total{result=\"ok\"}").await
}

#[tokio::test]
async fn a_report_of_a_code_that_is_not_ours_is_listed_and_not_chained() {
    let shop = Shop::open().await;
    let app = open(&shop, &[("RATE_LIMIT_IP_PER_MINUTE", "4")]).await;
    let forged = app
        .post_form(&format!("/t/{FORGED}/report"), &[("reason", "counterfeit"), ("details", "a\r\nb")])
        .await;
    forged.assert_page(202);
    assert_eq!(forged.rate().remaining, 3, "the caller's quota is charged");
    assert!(forged.text.contains("not one of ours"), "{}", forged.text);
    let before = app.metric("voketag_key_leak_alarms_total").await;
    let unminted = shop.tag(SIZE).to_string();
    app.post_form(&format!("/t/{unminted}/report"), &[("reason", "stolen")]).await.assert_page(202);
    assert_eq!(
        app.metric("voketag_key_leak_alarms_total").await,
        before + 1,
        "the alarm is raised nevertheless"
    );
    let nonsense = app.post_form("/t/%3Cb%3E%2F%20x/report", &[("reason", "other"), ("details", " ")]).await;
    nonsense.assert_page(202);
    assert_eq!(nonsense.rate().remaining, 1);
    let found = listed(&shop).await;
    let seen: Vec<_> = found.iter().map(|report| (report.code.as_str(), report.reason.as_str())).collect();
    assert_eq!(seen, [(FORGED, "counterfeit"), (unminted.as_str(), "stolen"), ("<b>/ x", "other")]);
    assert_eq!(found[0].details.as_deref(), Some("a\nb"));
    assert_eq!((&found[1].details, &found[2].details), (&None, &None));
    assert_eq!(Some(found[0].request_id.as_str()), forged.header("x-request-id"));
    assert_eq!(appended(&app).await, 0, "the audit chain has no entry");

    assert_eq!(app.post_form("/t/nonsense/report", &[("reason", "other")]).await.status, 202);
    let denied = app.post_form("/t/nonsense/report", &[("reason", "other")]).await;
    denied.assert_page(429);
    assert_eq!(listed(&shop).await.len(), 4, "a denied report is not listed");
}

#[tokio::test]
async fn the_stored_part_of_a_report_has_a_limit() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let long = "é".repeat(MAX_CODE + 1);
    assert_eq!(app.post_form(&format!("/t/{long}/report"), &[("reason", "other")]).await.status, 202);
    let found = listed(&shop).await;
    assert_eq!(found[0].code, format!("{}…", "é".repeat(MAX_CODE - 1)));
    let most = "é".repeat(1_000);
    let report = async |details: &str| {
        app.post_form("/t/nonsense/report", &[("reason", "other"), ("details", details)]).await.status
    };
    assert_eq!((report(&most).await, report(&format!("{most}é")).await), (202, 400));
    assert_eq!(listed(&shop).await[1].details, Some(most));
}

#[tokio::test]
async fn the_oldest_reports_are_dropped_and_all_expire() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let millis = |age: Duration| u64::try_from((now() - age).unix_timestamp_nanos() / 1_000_000).unwrap();
    let mut connection = shop.redis.connection().await;
    let mut add = redis::pipe();
    for n in 0..MOST_REPORTS {
        // The first two are a minute too old.
        let age = if n < 2 { KEPT_FOR + Duration::from_secs(60) } else { Duration::from_secs(60) };
        let id = ambient::uuid_v7(millis(age));
        let report = UnprovenReport {
            id,
            reported_at: now() - age,
            code: format!("c{n}"),
            reason: "other".to_owned(),
            details: None,
            request_id: "r".to_owned(),
        };
        add.zadd(keys::UNPROVEN_REPORTS, format!("{id}{}", serde_json::to_string(&report).unwrap()), 0)
            .ignore();
    }
    let () = add.query_async(&mut connection).await.unwrap();
    assert_eq!(listed(&shop).await.len(), MOST_REPORTS - 2, "reports that are too old are not shown");
    assert_eq!(app.post_form("/t/nonsense/report", &[("reason", "other")]).await.status, 202);
    let size: usize = connection.zcard(keys::UNPROVEN_REPORTS).await.unwrap();
    assert_eq!(size, MOST_REPORTS - 1, "the two old reports were removed");
    for _ in 0..5 {
        assert_eq!(app.post_form("/t/newest/report", &[("reason", "other")]).await.status, 202);
    }
    let size: usize = connection.zcard(keys::UNPROVEN_REPORTS).await.unwrap();
    assert_eq!(size, MOST_REPORTS, "the list has a limit");
    let found = listed(&shop).await;
    assert!(found[found.len() - 5..].iter().all(|report| report.code == "newest"));
    let ttl: u64 = connection.pttl(keys::UNPROVEN_REPORTS).await.unwrap();
    assert!(Duration::from_millis(ttl) > KEPT_FOR - Duration::from_secs(600), "{ttl}");
}

#[tokio::test]
async fn pages_of_the_list_have_no_gap() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    for n in 0..5 {
        assert_eq!(app.post_form(&format!("/t/c{n}/report"), &[("reason", "other")]).await.status, 202);
    }
    let catalog = Catalog::new(pool(&shop.redis.url()));
    let (mut after, mut codes) = (None, Vec::new());
    loop {
        let page = catalog.unproven_reports(after, 2, now()).await.unwrap();
        codes.extend(page.items.into_iter().map(|report| report.code));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    // Two reports of one millisecond have no order.
    codes.sort();
    assert_eq!(codes, ["c0", "c1", "c2", "c3", "c4"]);
}

#[tokio::test]
async fn lost_state_rejects_reports_and_a_scan_of_a_forged_id_needs_no_redis_call() {
    let shop = Shop::open().await;
    let app = open(&shop, &[]).await;
    let commands = async || {
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query_async(&mut shop.redis.connection().await)
            .await
            .unwrap();
        let evals = info.lines().filter(|line| line.starts_with("cmdstat_eval"));
        evals.map(|line| line.split(['=', ',']).nth(1).unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    let before = (
        commands().await,
        app.metric("voketag_redis_command_duration_seconds_count{pool=\"durable\"}").await,
    );
    for _ in 0..50 {
        app.get(&format!("/t/{FORGED}")).await.assert_page(404);
    }
    let operations =
        app.metric("voketag_redis_command_duration_seconds_count{pool=\"durable\"}").await - before.1;
    assert!(operations < 10, "{operations} operations for 50 forged ids; background tasks cause a few");
    shop.flush().await;
    for code in [FORGED, "nonsense"] {
        app.post_form(&format!("/t/{code}/report"), &[("reason", "other")]).await.assert_page(503);
    }
    assert_eq!(crate::shop::keys(&shop.redis, "vt1:ur").await, Vec::<String>::new());
}
