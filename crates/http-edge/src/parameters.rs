//! The query parameters that each route takes, as its OpenAPI document declares them.
//!
//! A route without declared parameters takes none. A misspelt or misplaced parameter is a 400 before the
//! handler runs: if it were ignored, a request to revoke five tags could revoke them all.

use crate::error::HttpError;
use crate::extract::field_names;
use axum::extract::MatchedPath;
use http::{Method, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, RefOr};

/// The extension of an operation that ignores unknown query parameters. It is for links that people share,
/// because other sites add tracking parameters to them.
pub const IGNORES_UNKNOWN_QUERY: &str = "x-ignores-unknown-query";

/// How many unknown parameters an error names.
const MAX_NAMED: usize = 5;

/// The length limit of a name in an error, in characters.
const MAX_NAME: usize = 40;

/// The query parameters that each route takes. A route that is not in the document takes none.
#[derive(Debug, Clone, Default)]
pub struct QueryParameters {
    by_path: BTreeMap<String, PathParameters>,
}

#[derive(Debug, Clone, Default)]
struct PathParameters {
    by_method: BTreeMap<&'static str, Takes>,
    /// The documented statuses below 400.
    successes: BTreeMap<&'static str, Vec<u16>>,
    /// What an undocumented method takes: the parameters of all others. Such a request is a 405 or a
    /// preflight.
    union: Takes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Takes {
    These(BTreeSet<String>),
    Any,
}

impl Default for Takes {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Takes {
    fn of(operation: &Operation, shared: &[RefOr<Parameter>]) -> Self {
        let ignores = operation.extensions.as_ref().and_then(|all| all.get(IGNORES_UNKNOWN_QUERY));
        if ignores.is_some_and(|value| value == &serde_json::Value::Bool(true)) {
            return Self::Any;
        }
        let own = operation.parameters.iter().flatten();
        let query = |parameter: &RefOr<Parameter>| match parameter {
            RefOr::T(parameter) => {
                matches!(parameter.parameter_in, ParameterIn::Query).then(|| parameter.name.clone())
            }
            RefOr::Ref(_) => None,
        };
        Self::These(own.chain(shared).filter_map(query).collect())
    }

    fn with(self, other: &Self) -> Self {
        match (self, other) {
            (Self::These(mut names), Self::These(more)) => {
                names.extend(more.iter().cloned());
                Self::These(names)
            }
            _ => Self::Any,
        }
    }
}

impl QueryParameters {
    /// Reads the parameters from `document`.
    #[must_use]
    pub fn declared_in(document: &OpenApi) -> Self {
        let paths = document.paths.paths.iter();
        Self { by_path: paths.map(|(path, item)| (path.clone(), PathParameters::of(item))).collect() }
    }

    /// Returns each documented operation: its path, its method and its documented statuses below 400.
    pub(crate) fn operations(&self) -> impl Iterator<Item = (&str, &'static str, &[u16])> {
        self.by_path.iter().flat_map(|(path, parameters)| {
            let successes = parameters.successes.iter();
            successes.map(|(method, statuses)| (path.as_str(), *method, statuses.as_slice()))
        })
    }

    /// Rejects a query with undeclared or repeated parameters.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), HttpError> {
        let Some(query) = request.uri().query().filter(|query| !query.is_empty()) else { return Ok(()) };
        // A path without a route is a 404 in any case.
        let Some(path) = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) else {
            return Ok(());
        };
        let none = Takes::default();
        let takes = self.by_path.get(path).map_or(&none, |path| path.takes(request.method()));
        let Takes::These(declared) = takes else { return Ok(()) };
        let names = field_names(query.as_bytes(), "the query")?;
        let unknown: Vec<&String> = names.iter().filter(|name| !declared.contains(*name)).collect();
        if unknown.is_empty() { Ok(()) } else { Err(undeclared(request.method(), path, declared, &unknown)) }
    }
}

impl PathParameters {
    fn of(item: &PathItem) -> Self {
        let shared = item.parameters.as_deref().unwrap_or_default();
        let methods = [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PATCH", &item.patch),
            ("PUT", &item.put),
            ("DELETE", &item.delete),
        ];
        let documented =
            methods.into_iter().filter_map(|(name, operation)| Some((name, operation.as_ref()?)));
        let successes = documented.clone().map(|(name, operation)| (name, successes_of(operation))).collect();
        let by_method: BTreeMap<_, _> =
            documented.map(|(name, operation)| (name, Takes::of(operation, shared))).collect();
        let union = by_method.values().fold(Takes::default(), Takes::with);
        Self { by_method, successes, union }
    }

    fn takes(&self, method: &Method) -> &Takes {
        let name = if method == Method::HEAD { "GET" } else { method.as_str() };
        self.by_method.get(name).unwrap_or(&self.union)
    }
}

/// Returns the documented statuses below 400 of an operation.
fn successes_of(operation: &Operation) -> Vec<u16> {
    let statuses = operation.responses.responses.keys();
    statuses.filter_map(|status| status.parse().ok()).filter(|status| *status < 400).collect()
}

fn undeclared(method: &Method, path: &str, declared: &BTreeSet<String>, unknown: &[&String]) -> HttpError {
    let mut detail = match declared.len() {
        0 => format!("{method} {path} takes no query parameters; it got "),
        _ => {
            let declared: Vec<&str> = declared.iter().map(String::as_str).collect();
            format!("{method} {path} takes the query parameters {}; it got ", declared.join(", "))
        }
    };
    let shown = unknown.iter().take(MAX_NAMED).map(|name| {
        let cut: String = name.chars().take(MAX_NAME).collect();
        let more = if cut.len() < name.len() { "…" } else { "" };
        format!("\"{}{more}\"", cut.escape_debug())
    });
    detail.push_str(&shown.collect::<Vec<_>>().join(", "));
    if unknown.len() > MAX_NAMED {
        let _ = write!(detail, " and {} more", unknown.len() - MAX_NAMED);
    }
    HttpError::invalid_request(detail)
}
