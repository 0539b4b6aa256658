//! What is counted, and by which names.

use crate::app::App;

async fn shown(app: &App) -> String {
    let answer = app.get("/metrics").await;
    assert_eq!(
        answer.headers()["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    answer.text().await.unwrap()
}

#[tokio::test]
async fn requests_are_counted_by_template_method_and_status() {
    let app = App::spawn().await;
    for path in ["/items/1", "/items/2", "/items/x", "/nowhere/1", "/nowhere/2", "/panic"] {
        app.get(path).await;
    }
    app.post("/items/1", "text/plain", "").await;
    app.raw(b"BREW /items/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    app.raw(b"BREW /nowhere HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let text = shown(&app).await;
    for line in [
        r#"voketag_http_requests_total{route="/items/{id}",method="GET",status="200"} 2"#,
        r#"voketag_http_requests_total{route="/items/{id}",method="GET",status="400"} 1"#,
        r#"voketag_http_requests_total{route="/items/{id}",method="POST",status="405"} 1"#,
        r#"voketag_http_requests_total{route="/items/{id}",method="other",status="405"} 1"#,
        r#"voketag_http_requests_total{route="unmatched",method="GET",status="404"} 2"#,
        r#"voketag_http_requests_total{route="unmatched",method="other",status="404"} 1"#,
        r#"voketag_http_requests_total{route="/panic",method="GET",status="500"} 1"#,
        r#"voketag_http_request_duration_seconds_count{route="/items/{id}"} 5"#,
        r#"voketag_http_request_duration_seconds_bucket{le="+Inf",route="unmatched"} 3"#,
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains("nowhere"));
}

#[tokio::test]
async fn a_router_nested_twice_is_counted_by_each_of_its_templates() {
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
        let line = format!(r#"voketag_http_requests_total{{route="{route}",method="GET",status="200"}} 1"#);
        assert!(text.contains(&line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_build_names_itself() {
    let mut registry = http_edge::metrics_registry();
    http_edge::register_build_info(&mut registry, "scan-service", "1.2.3");
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains(r#"voketag_build_info{service="scan-service",version="1.2.3"} 1"#), "{text}");
}
