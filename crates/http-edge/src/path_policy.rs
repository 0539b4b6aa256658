//! What differs by path: the rendering of errors, headers such as CORS, and the time limit.
//!
//! A policy is selected by the path and not by the route. So it also holds for errors that reach no route.

use crate::problem::Problem;
use crate::request_id::RequestId;
use axum::response::Response;
use http::HeaderValue;
use http::header::{HeaderMap, HeaderName, ORIGIN};
use std::fmt;
use std::time::Duration;

/// Renders an error, e.g. as a page. The edge keeps its status and headers such as `Retry-After`.
pub type RenderProblem = fn(&Problem, &RequestId) -> Response;

/// The policy of the paths below a prefix.
#[derive(Clone)]
pub struct PathPolicy {
    prefix: &'static str,
    render: Option<RenderProblem>,
    headers: Vec<(HeaderName, HeaderValue)>,
    origins: Option<Vec<HeaderValue>>,
    timeout: Option<Duration>,
}

impl PathPolicy {
    /// Creates a policy for the path `prefix` and all paths below it: `/t` covers `/t` and `/t/…`, but not
    /// `/tags`.
    #[must_use]
    pub fn new(prefix: &'static str) -> Self {
        Self { prefix, render: None, headers: Vec::new(), origins: None, timeout: None }
    }

    /// Renders every error with `render` instead of as JSON, including 404, 405, timeouts and panics.
    #[must_use]
    pub fn render_problems_with(mut self, render: RenderProblem) -> Self {
        self.render = Some(render);
        self
    }

    /// Sets a header on every response that does not have it, errors included.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Lets pages of these origins, as browsers send them, read every response, errors included. Tells caches
    /// that responses differ by `Origin`.
    #[must_use]
    pub fn readable_from(mut self, origins: Vec<HeaderValue>) -> Self {
        self.origins = Some(origins);
        self
    }

    /// Sets a time limit that replaces [`crate::EdgeConfig::timeout`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    pub(crate) fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    pub(crate) fn render(&self) -> Option<RenderProblem> {
        self.render
    }

    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    pub(crate) fn time_limit(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether responses differ by `Origin`.
    pub(crate) fn varies_by_origin(&self) -> bool {
        self.origins.is_some()
    }

    /// Returns the origin of the request, if its pages may read the response.
    pub(crate) fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origins = self.origins.as_ref()?;
        headers.get(ORIGIN).filter(|origin| origins.contains(origin)).cloned()
    }
}

impl fmt::Debug for PathPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PathPolicy")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
