//! Traces: what a real receiver of OTLP gets, and that the service does not depend on the receiver.

use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use test_support::{OtlpReceiver, ReceivedSpan, eventually};

use crate::app::{PHONE, WAIT_LIMIT};
use crate::partners::Partner;
use crate::process::Program;
use crate::shop::{SECRET, Shop};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Starts the program over `shop` with an export to `endpoint` each 100 ms, and waits until it is ready.
async fn start(shop: &Shop, endpoint: &str, settings: &[(&str, &str)]) -> Program {
    let url = shop.redis.url();
    let common = [
        ("TAG_MASTER_SECRET", SECRET),
        ("REDIS_URL", url.as_str()),
        ("COLD_START_SECS", "0"),
        ("RATE_LIMIT_IP_PER_MINUTE", "1000000"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let settings: Vec<_> = common.into_iter().chain(settings.iter().copied()).collect();
    let program = Program::start(&settings).await;
    let ready = async || {
        let answer = reqwest::get(format!("http://{}/v1/ready", program.bind)).await;
        answer.is_ok_and(|answer| answer.status() == 200)
    };
    eventually("the program is ready", WAIT_LIMIT, ready).await;
    program
}

fn scan(program: &Program, tag: impl std::fmt::Display) -> RequestBuilder {
    let url = format!("http://{}/v1/scan/{tag}", program.bind);
    Client::new().get(url).header("user-agent", PHONE).timeout(WAIT_LIMIT)
}

fn traceparent(sampled: bool) -> String {
    format!("00-{TRACE}-{CALLER}-0{}", u8::from(sampled))
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

/// Returns the next span of a scan that is not among `seen`.
async fn next_scan(receiver: &OtlpReceiver, seen: &mut Vec<String>) -> ReceivedSpan {
    let span = receiver
        .span("the span of a scan arrives", |span| {
            span.name == "GET /v1/scan/{tag_id}" && !seen.contains(&span.id)
        })
        .await;
    seen.push(span.id.clone());
    span
}

#[tokio::test]
async fn a_scan_arrives_with_its_route_and_its_calls_and_without_what_identifies_a_tag_or_a_client() {
    let (shop, receiver) = (Shop::open().await, OtlpReceiver::start().await);
    let mut program = start(&shop, &receiver.url(), &[("ACCESS_LOG", "all")]).await;
    let tag = shop.tag(0);
    assert_eq!(status(scan(&program, tag)).await, 200);
    let request = next_scan(&receiver, &mut Vec::new()).await;
    assert_eq!((request.service.as_str(), request.parent.as_str()), ("scan-service", ""));
    let expected = [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("http.route", "/v1/scan/{tag_id}"),
    ];
    for (name, value) in expected {
        assert_eq!(request.attributes.get(name).map(String::as_str), Some(value), "{request:?}");
    }
    let call = receiver.span("the call arrives", |span| span.parent == request.id).await;
    assert_eq!((call.name.as_str(), &call.trace), ("scan call", &request.trace));
    assert_eq!(call.attributes.get("voketag.scan.group_size").unwrap(), "1");
    let redis = receiver.span("the call of redis arrives", |span| span.parent == call.id).await;
    for (name, value) in [
        ("db.system.name", "redis"),
        ("db.operation.name", "EVALSHA"),
        ("db.stored_procedure.name", redis.name.as_str()),
        ("voketag.redis.pool", "durable"),
    ] {
        assert_eq!(redis.attributes.get(name).map(String::as_str), Some(value), "{redis:?}");
    }
    assert!(redis.attributes["voketag.redis.keys"].parse::<u32>().unwrap() > 0, "{redis:?}");
    receiver.span("a background job arrives", |span| span.name == "refresh" && span.parent.is_empty()).await;
    let exemplars = reqwest::Client::new()
        .get(format!("http://{}/metrics", program.bind))
        .header("accept", "application/openmetrics-text");
    let exemplars = exemplars.send().await.unwrap().text().await.unwrap();
    assert!(exemplars.contains(&format!("# {{trace_id=\"{}\"}}", request.trace)), "{exemplars}");

    let log = program.stop().await;
    let line = log.lines().find(|line| line.contains("request completed") && line.contains("/v1/scan/"));
    let line: Value = serde_json::from_str(line.unwrap()).unwrap();
    assert_eq!((&line["trace_id"], &line["span_id"]), (&request.trace.into(), &request.id.into()));
    let all = format!("{:?}", receiver.spans());
    let id = tag.to_string();
    for hidden in [id.as_str(), tag.crockford().as_str(), "127.0.0.1", SECRET, PHONE] {
        assert!(!all.contains(hidden), "{hidden} is in an attribute");
    }
}

#[tokio::test]
async fn only_a_trusted_proxy_and_a_verified_partner_continue_their_trace() {
    let (shop, receiver) = (Shop::open().await, OtlpReceiver::start().await);
    let mut seen = Vec::new();
    let program = start(&shop, &receiver.url(), &[]).await;
    let sent = |sampled| scan(&program, shop.tag(0)).header("traceparent", traceparent(sampled));
    for (what, request) in [
        ("a stranger", sent(true)),
        ("an unsampled stranger", sent(false)),
        ("a wrong key", sent(true).bearer_auth(Partner::stranger().key.reveal())),
    ] {
        status(request).await;
        let span = next_scan(&receiver, &mut seen).await;
        assert_ne!(span.trace, TRACE, "{what}");
        assert_eq!((span.parent.as_str(), span.links.as_slice()), ("", &[CALLER.to_owned()][..]), "{what}");
    }
    let partner = Partner::of(&shop).await;
    assert_eq!(status(sent(true).bearer_auth(partner.key.reveal())).await, 200);
    let span = next_scan(&receiver, &mut seen).await;
    assert_eq!((span.trace.as_str(), span.parent.as_str()), (TRACE, CALLER));
    assert!(span.links.is_empty());

    let program = start(&shop, &receiver.url(), &[("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let sent = |sampled| scan(&program, shop.tag(0)).header("traceparent", traceparent(sampled));
    assert_eq!(status(sent(false)).await, 200);
    assert_eq!(status(sent(true)).await, 200);
    let span = next_scan(&receiver, &mut seen).await;
    assert_eq!((span.trace.as_str(), span.parent.as_str()), (TRACE, CALLER), "the unsampled one is not sent");
    let twice = sent(true).header("traceparent", traceparent(true));
    assert_eq!(status(twice).await, 200);
    assert_ne!(next_scan(&receiver, &mut seen).await.trace, TRACE, "two headers count as none");
}

#[tokio::test]
async fn the_service_serves_on_within_bounded_memory_if_the_receiver_hangs_rejects_or_is_gone() {
    let shop = Shop::open().await;
    let (hanging, rejecting) = (OtlpReceiver::start_hanging().await, OtlpReceiver::start_rejecting().await);
    let gone = OtlpReceiver::start().await.url();
    for (what, endpoint) in [("hangs", hanging.url()), ("rejects", rejecting.url()), ("is gone", gone)] {
        let timeout = ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000");
        let mut program = start(&shop, &endpoint, &[timeout]).await;
        let client = Client::builder().user_agent(PHONE).timeout(WAIT_LIMIT).build().unwrap();
        let url = format!("http://{}/v1/scan/{}", program.bind, shop.tag(0));
        let many = async |count: usize| {
            for _ in 0..count {
                assert_eq!(client.get(&url).send().await.unwrap().status(), 200, "{what}");
            }
        };
        // Four spans a scan: the queue of 2,048 overflows.
        many(700).await;
        let before = program.memory("VmRSS");
        many(1_500).await;
        let grown = program.memory("VmRSS").saturating_sub(before);
        assert!(grown < 8 * 1024, "{what}: {grown} KiB more");
        let stopped = tokio::time::timeout(Duration::from_secs(6), program.stop()).await;
        let log = stopped.expect("the last export is bounded");
        let failures = log.lines().filter(|line| line.contains("spans cannot be exported")).count();
        assert!(failures <= 2, "{what}: a failure that lasts is not logged again and again: {failures}");
    }
}

#[tokio::test]
async fn the_ratio_of_the_sampler_selects_traces() {
    let (shop, receiver) = (Shop::open().await, OtlpReceiver::start().await);
    let sampler = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    let mut program = start(&shop, &receiver.url(), &sampler).await;
    for _ in 0..200 {
        assert_eq!(status(scan(&program, shop.tag(0))).await, 200);
    }
    program.stop().await;
    let spans = receiver.spans();
    let scans: Vec<_> = spans.iter().filter(|span| span.name == "GET /v1/scan/{tag_id}").collect();
    // Seven standard deviations to either side.
    assert!((50..150).contains(&scans.len()), "{}", scans.len());
    for scan in scans {
        assert!(spans.iter().any(|span| span.parent == scan.id), "a sampled scan has its calls");
    }
}
