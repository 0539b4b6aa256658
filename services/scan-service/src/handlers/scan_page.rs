//! `GET /t/{tag_id}`: the page that a phone's camera opens. It is the same scan.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use catalog::{Lifecycle, Withdrawal};
use http_edge::{ApiPath, HttpError};
use problems::ApiError;
use time::OffsetDateTime;

use crate::domain::issuers::IssuerAnswer;
use crate::domain::scan::Scanned;
use crate::domain::verdict::Verdict;
use crate::handlers::caller::Client;
use crate::handlers::page::{FormPart, Tone, html, isolated};
use crate::handlers::problems::PageErrors;
use crate::handlers::rejection::{of_scan, with_quotas};
use crate::handlers::scan::{read_tag, scanned};
use crate::handlers::unproven_page::{no_such_tag, no_tag_id};
use crate::handlers::verdict_words::{factor_in_words, issued, judged, level_name, minute, scans_in_words};
use crate::state::AppState;

#[derive(Template)]
#[template(path = "verdict.html")]
struct VerdictPage<'a> {
    title: String,
    tone: Tone,
    headline: &'static str,
    advice: String,
    word: Option<BrandWord>,
    brand: &'a str,
    issuer: &'a IssuerAnswer,
    /// The name in which the page speaks: the brand if it is verified, else the issuer.
    speaker: &'a str,
    name: &'a str,
    gtin: Option<&'a str>,
    label: Option<&'a str>,
    manufactured: Option<String>,
    expiry: Option<Expiry>,
    first_scan: String,
    scans: String,
    seen_by_others: bool,
    risk: Option<RiskPart>,
    tag: &'a str,
    verification: String,
    form: FormPart<'a>,
}

/// The reason of the brand for a revocation or recall.
struct BrandWord {
    reason: String,
    since: String,
}

/// The expiry date of the batch.
struct Expiry {
    label: &'static str,
    date: String,
}

/// The risk, which only a valid tag shows: a low risk would contradict "not valid".
struct RiskPart {
    level: &'static str,
    score: u8,
    reasons: Vec<&'static str>,
}

/// Scans the tag and shows the result as an HTML page.
#[utoipa::path(
    get, path = "/t/{tag_id}", tag = "scan", operation_id = "scan_by_page",
    extensions(("x-ignores-unknown-query" = json!(true))),
    params(("tag_id" = String, Path, description = "The tag, in any accepted form")),
    responses(
        (status = 200, description = "The result as an HTML page", content_type = "text/html", body = String),
        PageErrors,
    )
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    client: Client,
    tag: Result<ApiPath<String>, HttpError>,
) -> Response {
    let text = tag.map_or_else(|_| String::new(), |ApiPath(text)| text);
    let tag = match read_tag(&state, &text) {
        Ok(tag) => tag,
        Err(problem) if text.is_empty() => return problem.into_response(),
        Err(_) => return no_tag_id(&text, &client.request_id),
    };
    let Scanned { outcome, quotas } = scanned(&state, &client, tag).await;
    let verdict = match outcome {
        Ok(verdict) => verdict,
        Err(rejection) => {
            return match of_scan(rejection, &state.key_leak_alarm, &client.request_id) {
                ApiError::TagNotFound => {
                    with_quotas(&quotas, no_such_tag(&tag.to_string(), &client.request_id))
                }
                error => with_quotas(&quotas, error),
            };
        }
    };
    let withdrawal = withdrawal(&state, &verdict).await;
    let tag = verdict.tag.to_string();
    with_quotas(&quotas, html(StatusCode::OK, &verdict_page(&verdict, &tag, withdrawal)))
}

/// Returns the reason and time of a revocation or recall. The reason of a single tag's revocation is read
/// here, because the batch does not have it. If it cannot be read, the page shows none.
async fn withdrawal(state: &AppState, verdict: &Verdict) -> Option<Withdrawal> {
    let batch = &verdict.cached.batch.value;
    match verdict.lifecycle {
        Lifecycle::Recalled => batch.recalled.clone(),
        Lifecycle::Revoked if batch.revoked.is_some() => batch.revoked.clone(),
        Lifecycle::Revoked => state.scanner.revocation_of(&verdict.tag).await,
        Lifecycle::Active | Lifecycle::Expired | Lifecycle::KeyRevoked => None,
    }
}

fn verdict_page<'a>(verdict: &'a Verdict, tag: &'a str, withdrawal: Option<Withdrawal>) -> VerdictPage<'a> {
    let (batch, product) = (&verdict.cached.batch.value, &verdict.cached.product.value);
    let superseded = verdict.risk.factors.iter().any(|factor| factor.name == "superseded_key");
    let speaker = if verdict.issuer.verified { &product.brand } else { &verdict.issuer.name };
    let (tone, headline, advice) = issued(&verdict.issuer, judged(verdict, superseded));
    VerdictPage {
        title: format!("{headline} · {} {}", isolated(&product.brand), isolated(&product.name)),
        tone,
        headline,
        advice,
        word: withdrawal.map(|withdrawal| word_of(verdict.lifecycle, withdrawal)),
        brand: &product.brand,
        issuer: &verdict.issuer,
        speaker,
        name: &product.name,
        gtin: product.gtin.as_deref(),
        label: batch.label.as_deref(),
        manufactured: batch.manufactured_at.map(|at| at.date().to_string()),
        expiry: batch.expires_at.map(|at| expiry(verdict.lifecycle, at)),
        first_scan: verdict.first_scan_at.map_or_else(|| "never".to_owned(), minute),
        scans: scans_in_words(verdict),
        seen_by_others: verdict.seen_by_others,
        risk: verdict.is_valid().then(|| RiskPart {
            level: level_name(verdict.risk.level),
            score: verdict.risk.score,
            reasons: verdict.risk.factors.iter().map(factor_in_words).collect(),
        }),
        tag,
        verification: verdict.verification_id.to_string(),
        form: FormPart {
            code: tag,
            summary: "Something wrong? Report it",
            question: "Anything that helps (optional)",
            brand: Some(speaker),
        },
    }
}

fn word_of(lifecycle: Lifecycle, withdrawal: Withdrawal) -> BrandWord {
    let what = if lifecycle == Lifecycle::Recalled { "Recalled" } else { "Withdrawn" };
    BrandWord { reason: withdrawal.reason, since: format!("{what} on {}", withdrawal.at.date()) }
}

fn expiry(lifecycle: Lifecycle, at: OffsetDateTime) -> Expiry {
    let label = if lifecycle == Lifecycle::Expired { "Expired on" } else { "Expires on" };
    Expiry { label, date: at.date().to_string() }
}
