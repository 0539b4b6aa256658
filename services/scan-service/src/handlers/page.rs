//! What the pages share: the style, the response, and the parts of more than one page.
//!
//! Pages have an inline style and no scripts. The Content-Security-Policy allows only the style, by its hash,
//! and the icon of this service. So even a product name that escapes its escaping cannot run anything. Stored
//! and received text is isolated, so that its direction cannot reorder the text around it.

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
        "default-src 'none'; style-src 'sha256-{hash}'; img-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("base64 is valid in a header")
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

    /// The SVG path of a tick, an exclamation mark, a cross or the hands of a clock.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Good => "M19 33l9 9 17-19",
            Self::Warn => "M32 17v19M32 46v.5",
            Self::Bad => "M22 22l20 20M42 22L22 42",
            Self::Calm => "M32 17v16l10 7",
        }
    }
}

/// A page with one message.
#[derive(Template)]
#[template(path = "notice.html")]
pub(crate) struct NoticePage<'a> {
    pub(crate) tone: Tone,
    pub(crate) headline: &'a str,
    pub(crate) advice: &'a str,
    /// When to try again.
    pub(crate) wait: Option<String>,
    /// The link to the next page.
    pub(crate) next: Option<Link>,
    /// What is wrong with the request. It may quote the request.
    pub(crate) detail: Option<&'a str>,
    pub(crate) reference: &'a str,
}

/// A link that looks like a button.
pub(crate) struct Link {
    /// Empty for the address of this page.
    pub(crate) href: String,
    pub(crate) text: &'static str,
}

/// The report form of a page.
pub(crate) struct FormPart<'a> {
    /// The code in the address after `/t/`.
    pub(crate) code: &'a str,
    pub(crate) summary: &'static str,
    /// The label of the text field.
    pub(crate) question: &'static str,
    /// The brand that gets the report, if it is known.
    pub(crate) brand: Option<&'a str>,
}

/// Isolates a text where no element can, as in a title: adds the isolates of Unicode's bidirectional
/// algorithm (UAX #9), and removes the controls in the text that would end them.
pub(crate) fn isolated(text: &str) -> String {
    let is_control = |c: char| {
        matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
            || matches!(c, '\u{200E}' | '\u{200F}' | '\u{061C}')
    };
    let bare: String = text.chars().filter(|c| !is_control(*c)).collect();
    format!("\u{2068}{bare}\u{2069}")
}

/// Renders a page with the Content-Security-Policy of pages.
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
    fn isolated_text_cannot_end_its_isolation() {
        assert_eq!(isolated("a\u{2069}\u{202E}b"), "\u{2068}ab\u{2069}");
        assert_eq!(isolated("שלום"), "\u{2068}שלום\u{2069}");
    }
}
