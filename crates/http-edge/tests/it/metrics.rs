//! The metrics and their names.

use crate::app::App;
use std::time::Duration;

async fn metrics(app: &App) -> String {
    let response = app.get("/metrics").await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(response.headers()["vary"], "accept");
    let text = response.text().await.unwrap();
    test_support::assert_sound_exposition(&text);
    text
}

#[tokio::test]
async fn openmetrics_is_sent_to_clients_that_prefer_it() {
    let app = App::spawn().await;
    let request = reqwest::Client::new().get(app.url("/metrics"));
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let response = request.header("accept", accept).send().await.unwrap();
    assert_eq!(
        response.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = response.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("# TYPE process_cpu_seconds counter\n"), "{text}");
    assert_eq!(text.matches("# EOF").count(), 1);
}

#[tokio::test]
async fn the_process_metrics_are_present() {
    let app = App::spawn().await;
    let text = metrics(&app).await;
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    };
    assert!(value("process_cpu_seconds_total") >= 0.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
    assert!((5.0..=value("process_max_fds")).contains(&value("process_open_fds")));
    assert!(value("process_threads") >= 1.0);
    let now = Duration::from_millis(ambient::Clock::unix_millis(&ambient::SystemClock::new())).as_secs_f64();
    assert!((now - 86_400.0..=now + 5.0).contains(&value("process_start_time_seconds")), "{text}");
}

#[tokio::test]
async fn requests_are_counted_by_template_method_status_and_problem() {
    let app = App::spawn().await;
    for path in ["/items/1", "/items/2", "/items/x", "/nowhere/1", "/nowhere/2", "/panic"] {
        app.get(path).await;
    }
    app.post("/items/1", "text/plain", "").await;
    app.raw(b"BREW /items/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    app.raw(b"BREW /nowhere HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let text = metrics(&app).await;
    for line in [
        r#"voketag_http_requests_total{route="/items/{id}",method="GET",status="200",problem="none"} 2"#,
        concat!(
            r#"voketag_http_requests_total{route="/items/{id}",method="GET",status="400","#,
            r#"problem="invalid-request"} 1"#
        ),
        concat!(
            r#"voketag_http_requests_total{route="/items/{id}",method="POST",status="405","#,
            r#"problem="method-not-allowed"} 1"#
        ),
        concat!(
            r#"voketag_http_requests_total{route="/items/{id}",method="other",status="405","#,
            r#"problem="method-not-allowed"} 1"#
        ),
        r#"voketag_http_requests_total{route="unmatched",method="GET",status="404",problem="not-found"} 2"#,
        r#"voketag_http_requests_total{route="unmatched",method="other",status="404",problem="not-found"} 1"#,
        r#"voketag_http_requests_total{route="/panic",method="GET",status="500",problem="internal"} 1"#,
        r#"voketag_http_request_duration_seconds_count{route="/items/{id}"} 5"#,
        r#"voketag_http_request_duration_seconds_bucket{le="+Inf",route="unmatched"} 3"#,
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("nowhere"));
}

#[tokio::test]
async fn a_router_nested_twice_is_counted_under_both_templates() {
    let mut registry = http_edge::metrics_registry();
    let clock = std::sync::Arc::new(ambient::SystemClock::new());
    let edge = http_edge::Edge::new(http_edge::EdgeConfig::default(), Vec::new(), clock, &mut registry);
    let inner: axum::Router = edge.wrap(crate::app::routes()).with_state(());
    let app = axum::Router::new().nest("/a", inner.clone()).nest("/b", inner);
    for path in ["/a/ok", "/b/ok"] {
        let request = http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        tower::ServiceExt::oneshot(app.clone(), request).await.unwrap();
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for route in ["/a/ok", "/b/ok"] {
        let line = format!(
            r#"voketag_http_requests_total{{route="{route}",method="GET",status="200",problem="none"}} 1"#
        );
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_build_info_has_service_and_version() {
    let mut registry = http_edge::metrics_registry();
    http_edge::register_build_info(&mut registry, "scan-service", "1.2.3");
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains(r#"voketag_build_info{service="scan-service",version="1.2.3"} 1"#), "{text}");
}
