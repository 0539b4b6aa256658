//! OpenAPI schemas of what this crate renders. The documents of both services use them.

use axum::Json;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr};
use utoipa::{Modify, ToSchema};

/// An error (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "only describes what the edge renders")]
pub struct ProblemBody {
    /// `urn:voketag:problem:<slug>`.
    #[schema(example = "urn:voketag:problem:not-found")]
    r#type: String,
    /// A short summary of the kind of error.
    title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What is wrong with this request.
    detail: String,
    /// The slug, with `_` instead of `-`.
    #[schema(example = "not_found")]
    error: String,
    /// The id of this request. Quote it when you report a problem.
    request_id: String,
}

/// The common part of both documents: the security schemes `bearer` and `api_key`. It leaves out
/// `info.license`, because the licence in `Cargo.toml` is that of the code.
#[derive(Debug, Clone, Copy)]
pub struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut OpenApi) {
        document.info.license = None;
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let header = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(header));
    }
}

/// Returns the error responses of a route, from pairs of status and description. Each is an
/// `application/problem+json` document.
#[must_use]
pub fn problems(rows: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    let schema = || Content::new(Some(Ref::from_schema_name("ProblemBody")));
    let response = |status: &str, text: &str| {
        let response = ResponseBuilder::new().description(text).content("application/problem+json", schema());
        let waits = matches!(status, "429" | "503");
        if waits { response.header("Retry-After", retry_after_header()).build() } else { response.build() }
    };
    rows.iter().map(|(status, text)| ((*status).to_owned(), RefOr::T(response(status, text)))).collect()
}

/// Describes the header `Retry-After`.
#[must_use]
pub fn retry_after_header() -> Header {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).build();
    HeaderBuilder::new().schema(Some(number)).description(Some("Whole seconds until the next try")).build()
}

/// Adds the quota headers to a response ([`crate::rate_limit_headers`]).
pub fn add_quota_headers(response: &mut Response) {
    for (name, text) in [
        ("RateLimit", "What is left of each quota, and the seconds until it grows"),
        ("RateLimit-Policy", "Each quota and its window in seconds"),
    ] {
        let schema = ObjectBuilder::new().schema_type(Type::String).build();
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(text)).build();
        response.headers.insert(name.to_owned(), RefOr::T(header));
    }
}

/// The process is alive.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthBody {
    /// `alive`.
    #[schema(example = "alive")]
    status: &'static str,
    /// The program's version.
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// Returns the answer of a health probe. It depends on nothing but the process.
pub fn alive(version: &'static str) -> Json<HealthBody> {
    Json(HealthBody { status: "alive", version })
}

/// The service is ready.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "only describes what the edge renders")]
pub struct ReadinessBody {
    /// `ready`.
    #[schema(example = "ready")]
    status: String,
    /// One check for each dependency.
    checks: Vec<ReadinessCheck>,
}

/// The error (RFC 9457) of a service that is not ready.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "only describes what the edge renders")]
pub struct UnreadyBody {
    #[serde(flatten)]
    problem: ProblemBody,
    /// One check for each dependency.
    checks: Vec<ReadinessCheck>,
}

/// The state of one dependency.
#[derive(Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "only describes what the edge renders")]
pub struct ReadinessCheck {
    /// The dependency's name.
    #[schema(example = "redis")]
    name: String,
    /// Whether this dependency lets requests be served.
    ok: bool,
    /// `false` if the instance is ready although this check fails; absent otherwise.
    required: Option<bool>,
    /// `true` if the dependency works, but an operator should look at it.
    warn: Option<bool>,
    /// One sentence about a failure or a warning.
    detail: Option<String>,
}
