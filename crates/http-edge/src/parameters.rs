//! Which query parameters each route takes. They are read from the OpenAPI document, so a route cannot take one that is not
//! documented, and a route that declares none takes none. A misspelt or misplaced parameter is a 400 before anything is done:
//! ignored, it would turn "revoke five tags" into "revoke them all".

use crate::error::HttpError;
use crate::extract::field_names;
use axum::extract::MatchedPath;
use http::{Method, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, RefOr};

/// The extension of an operation that ignores query parameters it does not know, for addresses that people share: links gather
/// tracking parameters.
pub const IGNORES_UNKNOWN_QUERY: &str = "x-ignores-unknown-query";

/// Most unknown parameters that a refusal names, and most characters of each name.
const NAMED: (usize, usize) = (5, 40);

/// The query parameters that each route takes; a route that is not documented takes none.
#[derive(Debug, Clone, Default)]
pub struct QueryParameters {
    by_path: BTreeMap<String, PathParameters>,
}

#[derive(Debug, Clone, Default)]
struct PathParameters {
    by_method: BTreeMap<&'static str, Takes>,
    /// What a method that is not documented takes: all that the others do. It is a 405, or a preflight of one of them.
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
    /// As `document` declares them.
    #[must_use]
    pub fn declared_in(document: &OpenApi) -> Self {
        let paths = document.paths.paths.iter();
        Self { by_path: paths.map(|(path, item)| (path.clone(), PathParameters::of(item))).collect() }
    }

    /// Passes a request whose query holds declared parameters only, each once.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), HttpError> {
        let Some(query) = request.uri().query().filter(|query| !query.is_empty()) else { return Ok(()) };
        // A path that no route has is a 404, whatever is asked of it.
        let Some(path) = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) else {
            return Ok(());
        };
        let none = Takes::default();
        let takes = self.by_path.get(path).map_or(&none, |path| path.takes(request.method()));
        let Takes::These(declared) = takes else { return Ok(()) };
        let names = field_names(query.as_bytes(), "the query")?;
        let unknown: Vec<&String> = names.iter().filter(|name| !declared.contains(*name)).collect();
        if unknown.is_empty() { Ok(()) } else { Err(refusal(request.method(), path, declared, &unknown)) }
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
        let by_method: BTreeMap<_, _> =
            documented.map(|(name, operation)| (name, Takes::of(operation, shared))).collect();
        let union = by_method.values().fold(Takes::default(), Takes::with);
        Self { by_method, union }
    }

    fn takes(&self, method: &Method) -> &Takes {
        let name = if method == Method::HEAD { "GET" } else { method.as_str() };
        self.by_method.get(name).unwrap_or(&self.union)
    }
}

fn refusal(method: &Method, path: &str, declared: &BTreeSet<String>, unknown: &[&String]) -> HttpError {
    let mut detail = match declared.len() {
        0 => format!("{method} {path} takes no query parameters; it got "),
        _ => {
            let declared: Vec<&str> = declared.iter().map(String::as_str).collect();
            format!("{method} {path} takes the query parameters {}; it got ", declared.join(", "))
        }
    };
    let shown = unknown.iter().take(NAMED.0).map(|name| {
        let cut: String = name.chars().take(NAMED.1).collect();
        let more = if cut.len() < name.len() { "…" } else { "" };
        format!("\"{}{more}\"", cut.escape_debug())
    });
    detail.push_str(&shown.collect::<Vec<_>>().join(", "));
    if unknown.len() > NAMED.0 {
        let _ = write!(detail, " and {} more", unknown.len() - NAMED.0);
    }
    HttpError::invalid_request(detail)
}
