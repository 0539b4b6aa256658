//! The page for a code that is not ours: forged, never minted, or not a tag id. It gives advice and has a
//! report form.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use catalog::shortened_code;
use http_edge::RequestId;

use crate::handlers::page::{FormPart, Tone, html};

#[derive(Template)]
#[template(path = "unproven.html")]
struct UnprovenPage<'a> {
    tone: Tone,
    headline: &'static str,
    advice: &'static str,
    shown: &'a str,
    reference: &'a str,
    form: FormPart<'a>,
}

/// Returns the page for an id that is forged or was never minted. It does not tell which.
pub(crate) fn no_such_tag(code: &str, request_id: &RequestId) -> Response {
    const HEADLINE: &str = "Not a genuine tag";
    const ADVICE: &str =
        "No such tag was ever made. If this came from an item that is sold as genuine, do not trust it.";
    page(StatusCode::NOT_FOUND, HEADLINE, ADVICE, code, request_id)
}

/// Returns the page for a text that is not a tag id.
pub(crate) fn no_tag_id(code: &str, request_id: &RequestId) -> Response {
    const HEADLINE: &str = "Not a VokeTag";
    const ADVICE: &str =
        "This is not a tag's address. Scan the code again, and make sure it is whole and clean.";
    page(StatusCode::BAD_REQUEST, HEADLINE, ADVICE, code, request_id)
}

fn page(
    status: StatusCode,
    headline: &'static str,
    advice: &'static str,
    code: &str,
    request_id: &RequestId,
) -> Response {
    let code = shortened_code(code);
    let form = FormPart {
        code: &code,
        summary: "Were you sold this as genuine? Report it",
        question: "Where did you get it, and anything else that helps (optional)",
        brand: None,
    };
    let reference = request_id.as_str();
    html(status, &UnprovenPage { tone: Tone::Bad, headline, advice, shown: &code, reference, form })
}
