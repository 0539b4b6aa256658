//! The problem document of RFC 9457: what a refusal says, and its rendering as `application/problem+json`.
//!
//! A [`Problem`] travels in the extensions of a response that has no body yet. The edge takes it out and renders
//! it, as JSON or by the [`crate::RenderProblem`] of the path_policy the path lies in. A refusal that the framework
//! made by itself carries none; [`Problem::of_bare`] gives it the document its status stands for.

use crate::error::HttpError;
use crate::request_id::RequestId;
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

/// Longest `detail` that is sent, in bytes: it may quote the request, and a quote needs a bound.
const MAX_DETAIL: usize = 400;

/// One refusal: its status, slug, title and detail, and what else the document holds.
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
    /// A problem of `status`. `slug` is stable and ends the document's `type`; `title` is the same for every problem of the
    /// slug; `detail` says what happened this time and is cut at 400 bytes.
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

    /// Sets the fault behind this problem. The edge logs it once and never sends it.
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

    /// The problem a status alone stands for, for a refusal that nobody described.
    pub(crate) fn of_bare(status: StatusCode) -> Self {
        let error = match status {
            StatusCode::UNAUTHORIZED => HttpError::Unauthenticated("credentials are needed".into()),
            StatusCode::FORBIDDEN => HttpError::Forbidden("this is not allowed".into()),
            StatusCode::NOT_FOUND => HttpError::NotFound("there is nothing at this path".into()),
            StatusCode::METHOD_NOT_ALLOWED => HttpError::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => HttpError::RequestTimeout,
            StatusCode::CONFLICT => HttpError::Conflict("it contradicts what is already there".into()),
            StatusCode::PAYLOAD_TOO_LARGE => HttpError::ContentTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                HttpError::UnsupportedMediaType("the body is of a type that is not taken here".into())
            }
            StatusCode::UNPROCESSABLE_ENTITY => HttpError::Unprocessable("it cannot be accepted".into()),
            other if other.is_server_error() => HttpError::internal(format!("a bare {other} response")),
            _ => HttpError::invalid_request("the request cannot be read"),
        };
        let mut problem = error.into_problem();
        problem.status = status;
        problem
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The slug, e.g. `not-found`.
    #[must_use]
    pub fn slug(&self) -> &'static str {
        self.slug
    }

    /// A few words that are the same for every problem of this slug.
    #[must_use]
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// What happened this time. It may quote the request: a page must escape it.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// `Retry-After` in whole seconds, where it has a meaning.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        self.retry_after_s
    }

    pub(crate) fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        self.cause.as_deref()
    }

    /// A response with this problem as `application/problem+json`.
    #[must_use]
    pub(crate) fn to_json_response(&self, request_id: &RequestId) -> Response {
        let document = Document {
            kind: format_args!("urn:voketag:problem:{}", self.slug),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            error: self.slug.replace('-', "_"),
            request_id: request_id.as_str(),
            members: &self.members,
        };
        let body = serde_json::to_vec(&document).expect("a map of strings and JSON values serializes");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

/// A response without a body that carries the problem for the edge to render, with the headers that belong to it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
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

/// The refusal that `refused` announced: its own headers stay, unless the rendering sets the same ones.
pub(crate) fn put_in_place(refused: Response, problem: &Problem, rendered: Response) -> Response {
    let (mut parts, _) = refused.into_parts();
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
    fn a_long_detail_is_cut_at_a_character() {
        let problem = HttpError::invalid_request("é".repeat(1_000)).into_problem();
        assert!(problem.detail().len() <= MAX_DETAIL + '…'.len_utf8());
        assert!(problem.detail().ends_with("é…"));
    }

    #[test]
    fn a_bare_status_keeps_its_number_and_gets_the_nearest_slug() {
        for (status, slug) in [
            (400, "invalid-request"),
            (401, "unauthenticated"),
            (403, "forbidden"),
            (404, "not-found"),
            (405, "method-not-allowed"),
            (408, "request-timeout"),
            (409, "conflict"),
            (411, "invalid-request"),
            (413, "content-too-large"),
            (415, "unsupported-media-type"),
            (422, "unprocessable"),
            (500, "internal"),
            (503, "internal"),
        ] {
            let problem = Problem::of_bare(StatusCode::from_u16(status).unwrap());
            assert_eq!((problem.status().as_u16(), problem.slug()), (status, slug));
        }
    }
}
