//! Which web page sends a request, so that a foreign page cannot act in its visitor's name.
//!
//! Browsers say it in headers that no page can set: `Sec-Fetch-Site`, `Sec-Fetch-Mode` and `Sec-Fetch-Dest` (W3C Fetch Metadata; all
//! browsers since 2023, to `https` and to this machine only), and `Origin` with each `POST`. Programs send none of them.
//!
//! | request | accepted from |
//! | --- | --- |
//! | the form of a page | our own page; a sender that says nothing |
//! | `POST /v1/report` | our own page; the origins in `REPORT_CORS_ORIGINS`; a sender that says nothing |
//! | `GET` of a scan or a page | everybody, but not as a picture, a script, a frame or a socket of another document; of a page not by a foreign script |

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
use crate::state::AppState;

/// Why a request that another page sends is refused. A page that refuses looks for these words.
pub(crate) const FOREIGN: &str =
    "this was sent by a web page of another origin; send it from the page of the tag";
/// Why a request for a part of another document is refused.
pub(crate) const EMBEDDED: &str =
    "this cannot be a picture, a script, a frame or a socket of another document; open it as a page";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The origins that are known.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// That of `PUBLIC_BASE_URL`.
    pub(crate) own: Option<WebOrigin>,
    /// `REPORT_CORS_ORIGINS`.
    pub(crate) reporting: Vec<WebOrigin>,
}

impl Origins {
    /// Whether our own page sends this, or a sender that does not say: `Sec-Fetch-Site` decides, else `Origin`.
    fn is_own(&self, parts: &Parts) -> bool {
        let mut sites = parts.headers.get_all(SEC_FETCH_SITE).iter().peekable();
        if sites.peek().is_some() {
            return sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
        }
        match origin(&parts.headers) {
            Sender::Unsaid => true,
            Sender::Page(origin) => {
                self.own.as_ref() == Some(&origin) || host(parts).is_some_and(|host| origin.is_of_host(host))
            }
            Sender::Unknown => false,
        }
    }

    /// Whether the page that sends this may report from another origin.
    fn may_report(&self, headers: &HeaderMap) -> bool {
        matches!(origin(headers), Sender::Page(origin) if self.reporting.contains(&origin))
    }
}

/// What `Origin` says.
enum Sender {
    Unsaid,
    Page(WebOrigin),
    /// `null`, or anything else that is no web page's origin.
    Unknown,
}

fn origin(headers: &HeaderMap) -> Sender {
    let mut values = headers.get_all(ORIGIN).iter();
    match (values.next(), values.next()) {
        (None, _) => Sender::Unsaid,
        (Some(one), None) => {
            one.to_str().ok().and_then(|text| text.parse().ok()).map_or(Sender::Unknown, Sender::Page)
        }
        (Some(_), Some(_)) => Sender::Unknown,
    }
}

/// The host that the request names; a target in absolute form comes before `Host` (RFC 9112 §3.2.2).
fn host(parts: &Parts) -> Option<&[u8]> {
    let named = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    named.or_else(|| parts.headers.get(HOST).map(HeaderValue::as_bytes))
}

/// Whether a browser fetches this for another document, which shows nobody what was counted: a picture, a script, a font, a frame, a
/// socket. The API may be asked by the scripts of any page; a page of ours only by those of its own origin.
pub(crate) fn is_embedded(parts: &Parts) -> bool {
    let says = |name: HeaderName, what: fn(&[u8]) -> bool| {
        parts.headers.get_all(name).iter().any(|value| what(value.as_bytes()))
    };
    let by_script = says(SEC_FETCH_MODE, |mode| mode == b"cors")
        && says(SEC_FETCH_SITE, |site| matches!(site, b"cross-site" | b"same-site"));
    says(SEC_FETCH_MODE, |mode| matches!(mode, b"no-cors" | b"websocket"))
        // `empty` is what a script fetches.
        || says(SEC_FETCH_DEST, |dest| !matches!(dest, b"" | b"document" | b"empty"))
        // Chromium sends no fetch metadata with a socket.
        || says(UPGRADE, |protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        || by_script && parts.uri.path().starts_with("/t/")
}

/// A `GET` that is not a part of another document.
pub(crate) struct NotEmbedded;

impl<S: Send + Sync> FromRequestParts<S> for NotEmbedded {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        if is_embedded(parts) { Err(ApiError::forbidden(EMBEDDED)) } else { Ok(Self) }
    }
}

/// A form that our own page sends.
pub(crate) struct OwnForm;

impl FromRequestParts<AppState> for OwnForm {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        if state.origins.is_own(parts) { Ok(Self) } else { Err(ApiError::forbidden(FOREIGN)) }
    }
}

/// A report as JSON from where reports may come from.
pub(crate) struct MayReport;

impl FromRequestParts<AppState> for MayReport {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let may = state.origins.is_own(parts) || state.origins.may_report(&parts.headers);
        if may { Ok(Self) } else { Err(ApiError::forbidden(FOREIGN)) }
    }
}

/// What a browser asks before it lets a page of another origin send JSON; the edge adds the origin that is allowed.
pub(crate) async fn preflight_of_scan() -> Response {
    allowed("GET, POST")
}

/// The same for reports, which only known origins may send.
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
