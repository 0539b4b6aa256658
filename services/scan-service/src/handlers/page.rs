//! What the pages share: their style, how a page is sent, and what is on more than one of them.
//!
//! Rendered here, styled inline, without scripts. The style is allowed by its hash and nothing else is but the icon of this very
//! service, so even a product name that slipped through the escaping could run nothing. Stored and sent text is isolated, so that its
//! direction cannot reorder what stands beside it.

use std::sync::LazyLock;

use askama::Template;
use audit_chain::payload_hash;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use problems::ApiError;

/// The style sheet of every page.
pub(crate) const STYLE: &str = include_str!("../../templates/style.css");

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(payload_hash(STYLE.as_bytes()).as_bytes());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
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
    /// When it is worth trying again.
    pub(crate) wait: Option<String>,
    /// Where to go from here.
    pub(crate) next: Option<Link>,
    /// What was wrong with the request; it may quote it.
    pub(crate) detail: Option<&'a str>,
    pub(crate) reference: &'a str,
}

/// A link that looks like a button.
pub(crate) struct Link {
    /// Empty for the address of the page itself.
    pub(crate) href: String,
    pub(crate) text: &'static str,
}

/// The report form of a page.
pub(crate) struct FormPart<'a> {
    /// What stands in the address after `/t/`.
    pub(crate) code: &'a str,
    pub(crate) summary: &'static str,
    /// What the text is for.
    pub(crate) question: &'static str,
    /// Who gets the report, where that is known.
    pub(crate) brand: Option<&'a str>,
}

/// Text among other text where no element can isolate it, as in a title: the isolates of Unicode's bidirectional algorithm (UAX #9),
/// without the controls in the text itself that would end them.
pub(crate) fn isolated(text: &str) -> String {
    let is_control = |c: char| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}' | '\u{061C}');
    let bare: String = text.chars().filter(|c| !is_control(*c)).collect();
    format!("\u{2068}{bare}\u{2069}")
}

/// A page, with the policy that allows it nothing but its style.
pub(crate) fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => {
            let headers = [
                (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
                (CONTENT_SECURITY_POLICY, POLICY.clone()),
                // With `no-referrer`, browsers would send `Origin: null` with our own form.
                (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
            ];
            (status, headers, text).into_response()
        }
        Err(error) => ApiError::internal(error).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isolated_text_cannot_end_its_own_isolation() {
        assert_eq!(isolated("a\u{2069}\u{202E}b"), "\u{2068}ab\u{2069}");
        assert_eq!(isolated("שלום"), "\u{2068}שלום\u{2069}");
    }
}
