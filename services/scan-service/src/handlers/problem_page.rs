//! The page of an error below `/t`.

use axum::http::StatusCode;
use axum::response::Response;
use http_edge::{Problem, RequestId};

use crate::handlers::page::{Link, NoticePage, Tone, html};
use crate::handlers::sender::{EMBEDDED, FOREIGN};

/// Renders an error as a page with the same status, in words for a person with an item in their hand.
pub(crate) fn render_problem(problem: &Problem, request_id: &RequestId) -> Response {
    let (tone, headline, advice) = in_words(problem);
    let wait = problem.retry_after_s().map(|seconds| format!("You can try again {}.", after(seconds)));
    let again = wait.is_some() || problem.status().is_server_error();
    html(
        problem.status(),
        &NoticePage {
            tone,
            headline,
            advice,
            wait,
            // A GET of the same address. After a form, that is the page of the tag with the form.
            next: again.then(|| Link { href: String::new(), text: "Try again" }),
            detail: (problem.slug() == "invalid-request").then(|| problem.detail()),
            reference: request_id.as_str(),
        },
    )
}

fn in_words(problem: &Problem) -> (Tone, &'static str, &'static str) {
    match (problem.slug(), problem.status()) {
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
        ("rate-limited", _) if problem.title() == "Too many reports" => (
            Tone::Calm,
            "Reported often today",
            "This tag has the most reports that are accepted in a day. The brand has them.",
        ),
        ("rate-limited", _) => (
            Tone::Calm,
            "Too many checks",
            "Many tags were checked from your connection. This says nothing about the item.",
        ),
        ("forbidden", _) if problem.detail() == FOREIGN => (
            Tone::Calm,
            "Not sent from here",
            "Another website sent this in your name, so it was not taken. To report an item, scan its code \
             and use the form on that page.",
        ),
        ("forbidden", _) if problem.detail() == EMBEDDED => (
            Tone::Calm,
            "Open this as a page",
            "Another website tried to show this as a part of itself. Scan the code on the item instead.",
        ),
        ("unauthenticated" | "forbidden", _) => (
            Tone::Calm,
            "Key not accepted",
            "This says nothing about the item. The key that was sent along is not accepted here; open the \
             page without one.",
        ),
        (_, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
            (Tone::Calm, "Cannot check right now", "This says nothing about the item.")
        }
        (_, StatusCode::NOT_FOUND) => (Tone::Calm, "Nothing here", "Please scan the code on the item again."),
        (_, status) if status.is_client_error() => {
            (Tone::Calm, "That could not be read", "Please go back and check what was entered.")
        }
        _ => (
            Tone::Calm,
            "Something went wrong",
            "This says nothing about the item. Please try again in a moment.",
        ),
    }
}

/// Formats a wait for people: seconds up to two minutes, minutes up to two hours, then hours, rounded up.
fn after(seconds: u64) -> String {
    match seconds {
        0 | 1 => "in 1 second".to_owned(),
        2..=120 => format!("in {seconds} seconds"),
        121..=7_200 => format!("in {} minutes", seconds.div_ceil(60)),
        _ => format!("in {} hours", seconds.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_has_a_unit_that_suits_its_length() {
        for (seconds, words) in [
            (0, "in 1 second"),
            (1, "in 1 second"),
            (2, "in 2 seconds"),
            (120, "in 120 seconds"),
            (121, "in 3 minutes"),
            (300, "in 5 minutes"),
            (7_200, "in 120 minutes"),
            (7_201, "in 3 hours"),
        ] {
            assert_eq!(after(seconds), words);
        }
    }
}
