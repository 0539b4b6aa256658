//! `GET /t/{tag_id}`: what a phone's camera opens, the same scan as a page.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use catalog::Lifecycle;
use http_edge::{ApiError, ApiPath};
use time::OffsetDateTime;

use crate::domain::issuers::IssuerAnswer;
use crate::domain::risk::{RiskFactor, RiskLevel};
use crate::domain::scan::Scanned;
use crate::domain::verdict::Verdict;
use crate::handlers::caller::Client;
use crate::handlers::page::{Tone, html};
use crate::handlers::problems::Pages;
use crate::handlers::refusal::{of_scan, with_quotas};
use crate::handlers::scan::{read_tag, scanned};
use crate::state::AppState;

#[derive(Template)]
#[template(path = "verdict.html")]
struct VerdictPage<'a> {
    tone: Tone,
    headline: &'static str,
    advice: String,
    brand: &'a str,
    issuer: &'a IssuerAnswer,
    name: &'a str,
    gtin: Option<&'a str>,
    label: Option<&'a str>,
    manufactured: Option<String>,
    first_scan: Option<String>,
    scan_count: u32,
    counted: bool,
    seen_by_others: bool,
    risk_level: &'static str,
    risk_score: u8,
    reasons: Vec<&'static str>,
    tag: String,
    verification: String,
}

/// Shows a tag as a page.
#[utoipa::path(
    get, path = "/t/{tag_id}", tag = "scan", operation_id = "scan_by_page",
    extensions(("x-ignores-unknown-query" = json!(true))),
    params(("tag_id" = String, Path, description = "The tag, in any accepted form")),
    responses(
        (status = 200, description = "The verdict as a page", content_type = "text/html", body = String),
        Pages,
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
        Err(refusal) => with_quotas(&quotas, of_scan(refusal, &state.durable, &client.request_id)),
    }
}

fn verdict_page(verdict: &Verdict) -> VerdictPage<'_> {
    let (batch, product) = (&verdict.facts.batch.value, &verdict.facts.product.value);
    let superseded = verdict.risk.factors.iter().any(|factor| factor.name == "superseded_key");
    let (tone, headline, advice) = issued(&verdict.issuer, judged(verdict, superseded));
    VerdictPage {
        tone,
        headline,
        advice,
        brand: &product.brand,
        issuer: &verdict.issuer,
        name: &product.name,
        gtin: product.gtin.as_deref(),
        label: batch.label.as_deref(),
        manufactured: batch.manufactured_at.map(|at| at.date().to_string()),
        first_scan: verdict.first_scan_at.map(minute),
        scan_count: verdict.scan_count,
        counted: verdict.counted,
        seen_by_others: verdict.seen_by_others,
        risk_level: level_name(verdict.risk.level),
        risk_score: verdict.risk.score,
        reasons: verdict.risk.factors.iter().map(in_words).collect(),
        tag: verdict.tag.to_string(),
        verification: verdict.verification_id.to_string(),
    }
}

/// The verdict of a tag whose brand may not be verified: then nothing is said in the brand's name, and nothing is green.
fn issued(
    issuer: &IssuerAnswer,
    (tone, headline, advice): (Tone, &'static str, &'static str),
) -> (Tone, &'static str, String) {
    match tone {
        _ if issuer.verified => (tone, headline, advice.to_owned()),
        Tone::Good => (
            Tone::Warn,
            "Genuine code, brand not verified",
            "The issuer named below made this code. Nobody has verified that the brand is theirs.".to_owned(),
        ),
        _ => (tone, headline, advice.replace("The brand", "The issuer").replace("the brand", "the issuer")),
    }
}

fn judged(verdict: &Verdict, superseded: bool) -> (Tone, &'static str, &'static str) {
    match (verdict.lifecycle, verdict.risk.level) {
        (Lifecycle::Active, _) if superseded => (
            Tone::Warn,
            "Genuine code, look closely",
            "The brand made this code, but codes of its kind can by now be copied by others. Compare the item itself.",
        ),
        // Many scans by this caller alone are reloads, not a copy.
        (Lifecycle::Active, risk) if risk == RiskLevel::Low || !verdict.seen_by_others => {
            (Tone::Good, "Genuine", "This tag was made by the brand.")
        }
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
        (Lifecycle::KeyRevoked, _) => (
            Tone::Bad,
            "Cannot be trusted",
            "This code was made at a time when others could make such codes too. Do not trust the item; ask the brand.",
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
        "superseded_key" => "the brand has given up the key that this code was made with",
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
