//! Checks which web page sends a request, so that a foreign page cannot act in its visitor's name.
//!
//! Browsers name the page in headers that no page can set: `Sec-Fetch-Site`, `Sec-Fetch-Mode` and
//! `Sec-Fetch-Dest` (W3C Fetch Metadata; in all browsers since 2023, but only to `https` and to the same
//! machine), and `Origin` in each `POST`. Programs send none of them.
//!
//! | request | accepted from |
//! | --- | --- |
//! | the form of a page | our own pages, and senders without these headers |
//! | `POST /v1/report` | the same, and the origins in `REPORT_CORS_ORIGINS` |
//! | `GET` of a scan | everyone, but not as an image, script, frame or socket of another document |
//! | `GET` of a page | the same, but not by a script of another origin |

use axum::extract::FromRequestParts;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE, ALLOW, HOST, ORIGIN,
    UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use problems::ApiError;

use crate::origin::WebOrigin;
use crate::settings::OriginSettings;
use crate::state::AppState;

/// The error for a request of a foreign page. The error page is selected by this text.
pub(crate) const FOREIGN: &str =
    "this was sent by a web page of another origin; send it from the page of the tag";
/// The error for a request that another document embeds. The error page is selected by this text.
pub(crate) const EMBEDDED: &str =
    "this cannot be a picture, a script, a frame or a socket of another document; open it as a page";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Whether the sender is our own page or has none of the headers. `Sec-Fetch-Site` decides, else `Origin`.
fn is_own(known: &OriginSettings, parts: &Parts) -> bool {
    let mut sites = parts.headers.get_all(SEC_FETCH_SITE).iter().peekable();
    if sites.peek().is_some() {
        return sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    }
    match origin(&parts.headers) {
        Sender::Absent => true,
        Sender::Page(origin) => {
            known.own.as_ref() == Some(&origin) || host(parts).is_some_and(|host| origin.is_of_host(host))
        }
        Sender::Unknown => false,
    }
}

/// Whether the sender is a page of another origin that may report.
fn may_report(known: &OriginSettings, headers: &HeaderMap) -> bool {
    matches!(origin(headers), Sender::Page(origin) if known.reporting.contains(&origin))
}

/// The value of `Origin`.
enum Sender {
    Absent,
    Page(WebOrigin),
    /// `null`, or anything else that is not the origin of a web page.
    Unknown,
}

fn origin(headers: &HeaderMap) -> Sender {
    let mut values = headers.get_all(ORIGIN).iter();
    match (values.next(), values.next()) {
        (None, _) => Sender::Absent,
        (Some(one), None) => {
            one.to_str().ok().and_then(|text| text.parse().ok()).map_or(Sender::Unknown, Sender::Page)
        }
        (Some(_), Some(_)) => Sender::Unknown,
    }
}

/// Returns the host of the request. A target in absolute form takes precedence over `Host` (RFC 9112 §3.2.2).
fn host(parts: &Parts) -> Option<&[u8]> {
    let named = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    named.or_else(|| parts.headers.get(HOST).map(HeaderValue::as_bytes))
}

/// Whether a browser fetches this for another document, whose visitor does not see the result: as an image,
/// script, font, frame or socket. Scripts of any page may call the API, but only scripts of our origin may
/// fetch our pages.
pub(crate) fn is_embedded(parts: &Parts) -> bool {
    let says = |name: HeaderName, what: fn(&[u8]) -> bool| {
        parts.headers.get_all(name).iter().any(|value| what(value.as_bytes()))
    };
    let by_script = says(SEC_FETCH_MODE, |mode| mode == b"cors")
        && says(SEC_FETCH_SITE, |site| matches!(site, b"cross-site" | b"same-site"));
    says(SEC_FETCH_MODE, |mode| matches!(mode, b"no-cors" | b"websocket"))
        // `empty` is the destination of a script's request.
        || says(SEC_FETCH_DEST, |dest| !matches!(dest, b"" | b"document" | b"empty"))
        // Chromium sends no fetch metadata for a socket.
        || says(UPGRADE, |protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        || by_script && parts.uri.path().starts_with("/t/")
}

/// A `GET` that no other document embeds.
pub(crate) struct NotEmbedded;

impl<S: Send + Sync> FromRequestParts<S> for NotEmbedded {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        if is_embedded(parts) { Err(ApiError::forbidden(EMBEDDED)) } else { Ok(Self) }
    }
}

/// A form of our own page.
pub(crate) struct OwnForm;

impl FromRequestParts<AppState> for OwnForm {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        if is_own(&state.origins, parts) { Ok(Self) } else { Err(ApiError::forbidden(FOREIGN)) }
    }
}

/// A JSON report from a sender that may report.
pub(crate) struct MayReport;

impl FromRequestParts<AppState> for MayReport {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let may = is_own(&state.origins, parts) || may_report(&state.origins, &parts.headers);
        if may { Ok(Self) } else { Err(ApiError::forbidden(FOREIGN)) }
    }
}

/// Responds to the preflight of a scan, which browsers send before a page of another origin may send JSON.
/// The edge adds the allowed origin.
pub(crate) async fn preflight_of_scan() -> Response {
    allowed("GET, POST")
}

/// Responds to the preflight of a report, which only known origins may send.
pub(crate) async fn preflight_of_report(headers: HeaderMap, may: Result<MayReport, ApiError>) -> Response {
    match may {
        Ok(MayReport) if headers.contains_key(ORIGIN) => allowed("POST"),
        Ok(MayReport) => (StatusCode::NO_CONTENT, [(ALLOW, "POST, OPTIONS")]).into_response(),
        Err(error) => error.into_response(),
    }
}

fn allowed(methods: &'static str) -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, methods),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, X-API-Key, X-Request-Id"),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
