//! Traces of the factory: an append with its group and retries, work in a task of its own, and the trace of
//! an authenticated caller.

use serde_json::json;
use test_support::{OtlpReceiver, ReceivedSpan, RedisServer, eventually};

use crate::process::program;
use crate::support::{KEY, SOON};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Returns the named span that is a child of `parent`.
async fn child(receiver: &OtlpReceiver, parent: &ReceivedSpan, name: &str) -> ReceivedSpan {
    receiver.span(name, |span| span.name == name && span.parent == parent.id).await
}

#[tokio::test]
async fn a_change_has_the_trace_of_its_caller_its_append_and_the_calls_of_a_task_of_its_own() {
    let (redis, receiver) = (RedisServer::start().await, OtlpReceiver::start().await);
    let address = crate::process::free_address();
    let mut running = tokio::process::Command::from(program());
    running
        .env("BIND_ADDR", &address)
        .env("REDIS_URL", redis.url())
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url())
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .env("OTEL_SERVICE_NAME", "factory-eu")
        .stdout(std::process::Stdio::null());
    let _running = running.kill_on_drop(true).spawn().unwrap();
    let ready = async || {
        let answer = reqwest::get(format!("http://{address}/v1/ready")).await;
        answer.is_ok_and(|answer| answer.status() == 200)
    };
    eventually("the program is ready", SOON, ready).await;
    let create = |key: &str| {
        reqwest::Client::new()
            .post(format!("http://{address}/v1/products"))
            .bearer_auth(key)
            .header("traceparent", format!("00-{TRACE}-{CALLER}-01"))
            .header("idempotency-key", "\"one\"")
            .json(&json!({"name": "Serum", "brand": "Acme"}))
    };
    assert_eq!(create(KEY).send().await.unwrap().status(), 201);
    let request = receiver.span("the request arrives", |span| span.name == "POST /v1/products").await;
    assert_eq!((request.trace.as_str(), request.parent.as_str()), (TRACE, CALLER));
    assert_eq!(request.service, "factory-eu");
    child(&receiver, &request, "idempotency-claim").await;
    let append = child(&receiver, &request, "audit append").await;
    assert_eq!(append.attributes["voketag.audit.group_size"], "1");
    assert_eq!(append.attributes["voketag.audit.retries"], "0");
    let call = child(&receiver, &append, "audit call").await;
    child(&receiver, &call, "audit-append").await;

    let seen = request.id;
    assert_eq!(create("not-the-key-of-anybody-0123456789").send().await.unwrap().status(), 401);
    let rejected = receiver
        .span("the rejected request arrives", |span| span.name == "POST /v1/products" && span.id != seen)
        .await;
    assert_ne!(rejected.trace, TRACE);
    assert_eq!(rejected.links, [CALLER]);
    let all = format!("{:?}", receiver.spans());
    assert!(!all.contains(KEY) && !all.contains("Serum") && !all.contains("127.0.0.1"), "{all}");
}
