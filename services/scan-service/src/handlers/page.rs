//! `GET /t/{tag_id}`: what a phone's camera opens, the same scan as a page; `POST /t/{tag_id}/report`: its form.
//!
//! Rendered here, styled inline, without scripts. The style is allowed by its hash and nothing else is, so even a product
//! name that slipped through the escaping could run nothing.

use std::sync::LazyLock;

use askama::Template;
use audit_chain::payload_hash;
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catalog::Lifecycle;
use http_edge::{ApiError, ApiForm, ApiPath, Problem, RequestId};
use serde::Deserialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::domain::limits::Quotas;
use crate::domain::report::Reason;
use crate::domain::risk::{RiskFactor, RiskLevel};
use crate::domain::scan::Scanned;
use crate::domain::verdict::Verdict;
use crate::handlers::caller::Client;
use crate::handlers::refusal::{of_scan, with_quotas};
use crate::handlers::report::take;
use crate::handlers::scan::{read_tag, scanned};
use crate::state::AppState;

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
enum Tone {
    Good,
    Warn,
    Bad,
    Calm,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Calm => "calm",
        }
    }

    /// A tick, an exclamation mark, a cross, or a clock's hands.
    fn mark(self) -> &'static str {
        match self {
            Self::Good => "M19 33l9 9 17-19",
            Self::Warn => "M32 17v19M32 46v.5",
            Self::Bad => "M22 22l20 20M42 22L22 42",
            Self::Calm => "M32 17v16l10 7",
        }
    }
}

#[derive(Template)]
#[template(path = "verdict.html")]
struct VerdictPage<'a> {
    tone: Tone,
    headline: &'static str,
    advice: &'static str,
    brand: &'a str,
    name: &'a str,
    gtin: Option<&'a str>,
    label: Option<&'a str>,
    manufactured: Option<String>,
    first_scan: String,
    scan_count: u32,
    risk_level: &'static str,
    risk_score: u8,
    reasons: Vec<&'static str>,
    tag: String,
    verification: String,
}

#[derive(Template)]
#[template(path = "notice.html")]
struct NoticePage<'a> {
    tone: Tone,
    headline: &'a str,
    advice: &'a str,
    note: String,
}

/// Shows a tag as a page.
#[utoipa::path(
    get, path = "/t/{tag_id}", tag = "scan",
    params(("tag_id" = String, Path, description = "The tag, in any accepted form")),
    responses(
        (status = 200, description = "The verdict as a page", content_type = "text/html", body = String),
        (status = "4XX", description = "As `/v1/scan/{tag_id}`, as a page", content_type = "text/html", body = String),
        (status = "5XX", description = "As `/v1/scan/{tag_id}`, as a page", content_type = "text/html", body = String),
    )
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    client: Client,
    tag: Result<ApiPath<String>, ApiError>,
) -> Response {
    let text = tag.map_or_else(|_| String::new(), |ApiPath(text)| text);
    let tag = match read_tag(&state, &text) {
        Ok(tag) => tag,
        Err(problem) => return problem.into_response(),
    };
    let Scanned { outcome, quotas } = scanned(&state, &client, tag).await;
    match outcome {
        Ok(verdict) => with_quotas(&quotas, html(StatusCode::OK, &verdict_page(&verdict))),
        Err(refusal) => with_quotas(&quotas, of_scan(refusal, &client.request_id)),
    }
}

/// The form of the page.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportForm {
    /// What is wrong.
    reason: Reason,
    /// Up to 1,000 characters.
    #[schema(max_length = 1000)]
    details: Option<String>,
}

/// Takes the page's report.
#[utoipa::path(
    post, path = "/t/{tag_id}/report", tag = "scan",
    params(("tag_id" = String, Path, description = "The tag, in any accepted form")),
    request_body(content = ReportForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 202, description = "Taken, as a page", content_type = "text/html", body = String),
        (status = "4XX", description = "As `/v1/report`, as a page", content_type = "text/html", body = String),
        (status = "5XX", description = "As `/v1/report`, as a page", content_type = "text/html", body = String),
    )
)]
pub(crate) async fn report(
    State(state): State<AppState>,
    client: Client,
    tag: Result<ApiPath<String>, ApiError>,
    ApiForm(form): ApiForm<ReportForm>,
) -> Response {
    let tag = tag.map_or_else(|_| String::new(), |ApiPath(text)| text);
    let mut quotas = Quotas::default();
    // A browser ends the lines of a text area with CR LF and counts each as one character.
    let details = form.details.map(|text| text.replace("\r\n", "\n"));
    match take(&state, &client, &tag, form.reason, details, &mut quotas).await {
        Ok(()) => {
            let page = NoticePage {
                tone: Tone::Good,
                headline: "Report received",
                advice: "Thank you. The brand finds it in its records. Your address is not kept with it.",
                note: format!("Reference {}", client.request_id.as_str()),
            };
            with_quotas(&quotas, html(StatusCode::ACCEPTED, &page))
        }
        Err(error) => with_quotas(&quotas, error),
    }
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
    html(problem.status(), &NoticePage { tone, headline, advice, note })
}

fn verdict_page(verdict: &Verdict) -> VerdictPage<'_> {
    let (batch, product) = (&verdict.facts.batch.value, &verdict.facts.product.value);
    let (tone, headline, advice) = judged(verdict.lifecycle, verdict.risk.level);
    VerdictPage {
        tone,
        headline,
        advice,
        brand: &product.brand,
        name: &product.name,
        gtin: product.gtin.as_deref(),
        label: batch.label.as_deref(),
        manufactured: batch.manufactured_at.map(|at| at.date().to_string()),
        first_scan: minute(verdict.first_scan_at),
        scan_count: verdict.scan_count,
        risk_level: level_name(verdict.risk.level),
        risk_score: verdict.risk.score,
        reasons: verdict.risk.factors.iter().map(in_words).collect(),
        tag: verdict.tag.to_string(),
        verification: verdict.verification_id.to_string(),
    }
}

fn judged(lifecycle: Lifecycle, risk: RiskLevel) -> (Tone, &'static str, &'static str) {
    match (lifecycle, risk) {
        (Lifecycle::Active, RiskLevel::Low) => (Tone::Good, "Genuine", "This tag was made by the brand."),
        (Lifecycle::Active, _) => (
            Tone::Warn,
            "Genuine code, look closely",
            "The brand made this code, but it is scanned more than one item should be. It may have been copied.",
        ),
        (Lifecycle::Revoked, _) => {
            (Tone::Bad, "Not valid any more", "The brand has withdrawn this tag. Do not trust the item.")
        }
        (Lifecycle::Recalled, _) => (
            Tone::Warn,
            "Recalled",
            "The brand calls this batch back. Do not use the item; ask the brand or the shop.",
        ),
        (Lifecycle::Expired, _) => {
            (Tone::Warn, "Expired", "The tag was made by the brand, but its time is over.")
        }
    }
}

fn level_name(level: RiskLevel) -> &'static str {
    match level {
        RiskLevel::Low => "low",
        RiskLevel::Medium => "medium",
        RiskLevel::High => "high",
    }
}

fn in_words(factor: &RiskFactor) -> &'static str {
    match factor.name {
        "rapid_scans" => "scanned several times within half a minute",
        "high_frequency" => "scanned many times within a minute",
        "unusual_repetition" => "scanned ten times or more in all",
        _ => "asked for by a program rather than a browser",
    }
}

/// To the minute, UTC: what a person reads.
fn minute(at: OffsetDateTime) -> String {
    format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
}

fn html(status: StatusCode, page: &impl Template) -> Response {
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
