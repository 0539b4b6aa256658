//! What the pages below `/t` share: their style, how a page is sent, and what a refusal looks like there.
//!
//! Rendered here, styled inline, without scripts. The style is allowed by its hash and nothing else is, so even a product
//! name that slipped through the escaping could run nothing.

use std::sync::LazyLock;

use askama::Template;
use audit_chain::payload_hash;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_edge::{ApiError, Problem, RequestId};

/// The style sheet of every page.
pub(crate) const STYLE: &str = include_str!("../../templates/style.css");

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(payload_hash(STYLE.as_bytes()).as_bytes());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("base64 is fit for a header")
});

/// The colour and the mark of a verdict.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tone {
    Good,
    Warn,
    Bad,
    Calm,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Calm => "calm",
        }
    }

    /// A tick, an exclamation mark, a cross, or a clock's hands.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Good => "M19 33l9 9 17-19",
            Self::Warn => "M32 17v19M32 46v.5",
            Self::Bad => "M22 22l20 20M42 22L22 42",
            Self::Calm => "M32 17v16l10 7",
        }
    }
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "notice.html")]
pub(crate) struct NoticePage<'a> {
    pub(crate) tone: Tone,
    pub(crate) headline: &'a str,
    pub(crate) advice: &'a str,
    pub(crate) note: String,
    /// The tag that may be looked at again.
    pub(crate) again: Option<&'a str>,
}

/// A refusal as a page: same status, in words for somebody who holds an item in their hand.
pub(crate) fn render_problem(problem: &Problem, request_id: &RequestId) -> Response {
    let (tone, headline, advice) = match (problem.slug(), problem.status()) {
        ("tag-not-found", _) => (
            Tone::Bad,
            "Not a genuine tag",
            "No such tag was ever made. If this came from an item that is sold as genuine, do not trust it.",
        ),
        ("invalid-tag-id", _) => (
            Tone::Bad,
            "Not a VokeTag",
            "This is not a tag's address. Scan the code again, and make sure it is whole and clean.",
        ),
        ("rate-limited", _) => (
            Tone::Calm,
            "Too many checks",
            "Many tags were checked from your connection. Please wait a little and try again.",
        ),
        ("unauthenticated" | "forbidden", _) => (
            Tone::Calm,
            "Key not accepted",
            "This says nothing about the item. The key that was sent along is not accepted here; open the page without one.",
        ),
        (_, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => (
            Tone::Calm,
            "Cannot check right now",
            "This says nothing about the item. Please try again in a moment.",
        ),
        (_, StatusCode::NOT_FOUND) => (Tone::Calm, "Nothing here", "Please scan the code on the item again."),
        (_, status) if status.is_client_error() => {
            (Tone::Calm, "That could not be read", "Please go back and check what was entered.")
        }
        _ => (
            Tone::Calm,
            "Something went wrong",
            "This says nothing about the item. Please try again in a moment.",
        ),
    };
    let detail =
        if problem.slug() == "invalid-request" { format!("{} · ", problem.detail()) } else { String::new() };
    let note = format!("{detail}Reference {}", request_id.as_str());
    html(problem.status(), &NoticePage { tone, headline, advice, note, again: None })
}

/// A page, with the policy that allows it nothing but its style.
pub(crate) fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => {
            let headers = [
                (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
                (CONTENT_SECURITY_POLICY, POLICY.clone()),
            ];
            (status, headers, text).into_response()
        }
        Err(error) => ApiError::internal(error).into_response(),
    }
}
