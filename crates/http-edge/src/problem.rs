//! The problem document of an error (RFC 9457) and its rendering as `application/problem+json`.
//!
//! A response without a body has the [`Problem`] in its extensions. The edge renders it as JSON, or with the
//! [`crate::RenderProblem`] of the path's policy. An error of the framework has no problem: the edge adds the
//! one of its status.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The length limit of a `detail`, in bytes, because it may quote the request.
const MAX_DETAIL: usize = 400;

/// Space for the headers of an error response, which has 11 to 13. A map that grows rehashes them.
const HEADERS: usize = 16;

/// Bytes reserved for the JSON document. Most are shorter.
const DOCUMENT_BYTES: usize = 384;

/// One error: its status, slug, title, detail and further members.
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    retry_after_s: Option<u64>,
    members: Map<String, Value>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Problem {
    /// Creates a problem. `slug` is stable and ends the document's `type`. `title` is the same for every
    /// problem of the slug. `detail` says what happened this time, and is cut at 400 bytes.
    #[must_use]
    pub fn new(
        status: StatusCode,
        slug: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let detail = bounded(detail.into());
        Self { status, slug, title, detail, retry_after_s: None, members: Map::new(), cause: None }
    }

    /// Sets `Retry-After`: whole seconds, rounded up, at least one.
    #[must_use]
    pub fn with_retry_after(mut self, span: Duration) -> Self {
        let seconds = span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0));
        self.retry_after_s = Some(seconds.max(1));
        self
    }

    /// Sets the cause of this problem. The edge logs it once and never sends it.
    #[must_use]
    pub fn with_cause(mut self, cause: Box<dyn Error + Send + Sync>) -> Self {
        self.cause = Some(Arc::from(cause));
        self
    }

    /// Adds a member to the document (RFC 9457, section 3.2).
    #[must_use]
    pub fn with_member(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// Sets another status.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the slug, e.g. `not-found`.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        self.slug
    }

    /// Returns a few words that are the same for every problem of this slug.
    #[must_use]
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// Returns what happened this time. It may quote the request, so a page must escape it.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns `Retry-After` in whole seconds, if the problem has one.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_s
    }

    pub(crate) fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        self.cause.as_deref()
    }

    /// Puts this problem into the response as `application/problem+json`. Keeps the other headers.
    #[must_use]
    pub(crate) fn render_json(&self, mut response: Response, request_id: &str) -> Response {
        let document = Document {
            kind: format_args!("urn:voketag:problem:{}", self.slug),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            error: self.slug.replace('-', "_"),
            request_id,
            members: &self.members,
        };
        let mut body = Vec::with_capacity(DOCUMENT_BYTES);
        serde_json::to_writer(&mut body, &document).expect("a map of strings and JSON values serializes");
        *response.body_mut() = Body::from(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

/// Returns a response without a body. It has the headers of the problem, and the problem for the edge to
/// render.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.headers_mut().reserve(HEADERS);
        if let Some(seconds) = self.retry_after_s() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: fmt::Arguments<'a>,
    title: &'a str,
    status: u16,
    detail: &'a str,
    error: String,
    request_id: &'a str,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

/// Combines the response of a handler with the rendering of its problem. Headers of the rendering replace its
/// own.
pub(crate) fn put_in_place(response: Response, problem: &Problem, rendered: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    let (rendering, body) = rendered.into_parts();
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.extend(rendering.headers);
    parts.status = problem.status;
    Response::from_parts(parts, body)
}

fn bounded(detail: Cow<'static, str>) -> Cow<'static, str> {
    if detail.len() <= MAX_DETAIL {
        return detail;
    }
    let cut = detail.floor_char_boundary(MAX_DETAIL);
    Cow::Owned(format!("{}…", &detail[..cut]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let problem = Problem::new(StatusCode::BAD_REQUEST, "invalid-request", "Invalid", "é".repeat(1_000));
        assert!(problem.detail().len() <= MAX_DETAIL + '…'.len_utf8());
        assert!(problem.detail().ends_with("é…"));
    }
}
