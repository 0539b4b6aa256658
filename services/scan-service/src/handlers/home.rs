//! `GET /`, `/favicon.ico` and `/robots.txt`: requests of people, browsers and crawlers without a tag.

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::handlers::page::html;

const ICON: &[u8] = include_bytes!("../../assets/favicon.ico");
const ROBOTS: &str = include_str!("../../assets/robots.txt");
/// One day. Both files change only with a new version.
const CACHEABLE: &str = "public, max-age=86400";

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    version: &'static str,
}

/// Shows what this service is, and links its documentation.
#[utoipa::path(
    get, path = "/", tag = "operation", operation_id = "show_home",
    security(()),
    responses(
        (
            status = 200, description = "An HTML page about the service", content_type = "text/html",
            body = String,
        ),
    ),
)]
pub(crate) async fn home() -> Response {
    html(StatusCode::OK, &HomePage { version: env!("CARGO_PKG_VERSION") })
}

/// Returns the icon that browsers show beside the address.
#[utoipa::path(
    get, path = "/favicon.ico", tag = "operation", operation_id = "show_icon",
    security(()),
    responses(
        (status = 200, description = "An icon; cacheable", content_type = "image/x-icon", body = Vec<u8>),
    ),
)]
pub(crate) async fn icon() -> Response {
    ([(CONTENT_TYPE, "image/x-icon"), (CACHE_CONTROL, CACHEABLE)], ICON).into_response()
}

/// Returns what crawlers may fetch.
#[utoipa::path(
    get, path = "/robots.txt", tag = "operation", operation_id = "show_robots",
    security(()),
    responses(
        (
            status = 200,
            description = "A `robots.txt` (RFC 9309); cacheable",
            content_type = "text/plain", body = String,
        ),
    ),
)]
pub(crate) async fn robots() -> Response {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, CACHEABLE)], ROBOTS).into_response()
}
