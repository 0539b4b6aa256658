//! Puts guard and idempotency step in front of a route, and documents both in OpenAPI: the scope that the
//! route needs, and what `Idempotency-Key` does on a `POST`. A route cannot have the steps without their
//! documentation.

use access::Scope;
use axum::middleware::from_fn_with_state;
use axum::routing::MethodRouter;
use http_edge::api_doc::{add_quota_headers, problems};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{RefOr, Required};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::handlers::guard::guard;
use crate::handlers::idempotency::idempotency;
use crate::state::AppState;

const FORBIDDEN: &str = "`forbidden`: the key lacks the scope of this route";
const IN_FLIGHT: &str = "`idempotency-in-flight`: the same request is in progress, with `Retry-After`";
const REUSED: &str = "`idempotency-key-reused`: the Idempotency-Key was used with another request";
const TOO_MANY: &str =
    "`rate-limited`: the tenant has 100,000 live Idempotency-Keys; send none, or wait for `Retry-After`";
const UNREADABLE: &str = "`invalid-request`: an Idempotency-Key that cannot be read";
const IF_MATCH_IS: &str = "`*` or a list of `ETag`s. The request is carried out only if one of these \
                           versions is current, else 412 (RFC 9110, section 13.1.1). Weak tags never match.";
const IF_NONE_MATCH_IS: &str =
    "`*` or a list of `ETag`s that the client holds. The answer is 304 if one of them is current.";
const KEY_IS: &str = "Requests with the same key are carried out once. For 24 h (`Idempotency-TTL`) a \
                      repeat gets the first answer, with `Idempotent-Replayed: true`. Errors are not \
                      stored. The key has 1 to 255 printable ASCII characters, as a quoted string, or bare \
                      if it holds no space, comma, semicolon, quotation mark or backslash \
                      (draft-ietf-httpapi-idempotency-key-header-07).";

/// Returns `routes` behind the guard. Only keys with `scope` pass.
pub(crate) fn needing(
    state: &AppState,
    scope: Scope,
    routes: UtoipaMethodRouter<AppState>,
) -> UtoipaMethodRouter<AppState> {
    let (schemas, mut paths, router) = routes;
    for item in paths.paths.values_mut() {
        for operation in operations(item) {
            document(operation, scope);
        }
        for operation in operations(item) {
            document_conditions(operation);
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response {
                    add_quota_headers(response);
                }
            }
        }
        if let Some(post) = &mut item.post {
            document_repeats(post);
        }
    }
    (schemas, paths, steps(state, scope, router))
}

/// The steps before a handler, from the innermost to the outermost: a request passes the guard, then the
/// idempotency step.
fn steps(state: &AppState, scope: Scope, router: MethodRouter<AppState>) -> MethodRouter<AppState> {
    router
        .route_layer(from_fn_with_state(state.clone(), idempotency))
        .route_layer(from_fn_with_state((state.clone(), scope), guard))
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete].into_iter().flatten()
}

fn document(operation: &mut Operation, scope: Scope) {
    let either = ["bearer", "api_key"].map(|scheme| SecurityRequirement::new(scheme, [scope.as_str()]));
    operation.security = Some(either.into());
    add_problems(operation, &[("403", FORBIDDEN)]);
}

/// Documents the headers of conditional requests on a route that answers 412 or 304.
fn document_conditions(operation: &mut Operation) {
    for (status, name, text) in [("412", "If-Match", IF_MATCH_IS), ("304", "If-None-Match", IF_NONE_MATCH_IS)]
    {
        if operation.responses.responses.contains_key(status) {
            let text_of = ObjectBuilder::new().schema_type(Type::String).build();
            operation.parameters.get_or_insert_default().push(RefOr::T(header(name, text, text_of)));
        }
    }
}

fn header(name: &str, description: &str, schema: Object) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

fn document_repeats(post: &mut Operation) {
    add_problems(post, &[("400", UNREADABLE), ("409", IN_FLIGHT), ("422", REUSED), ("429", TOO_MANY)]);
    let text =
        ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(257)).build();
    let header = header("Idempotency-Key", KEY_IS, text);
    post.parameters.get_or_insert_default().push(RefOr::T(header));
}

/// Adds error responses. If the route already documents a status, both descriptions are kept.
fn add_problems(operation: &mut Operation, rows: &[(&str, &str)]) {
    for (status, response) in problems(rows) {
        match operation.responses.responses.get_mut(&status) {
            Some(RefOr::T(own)) => {
                let RefOr::T(added) = response else { continue };
                own.description = format!("{}; {}", own.description, added.description);
            }
            Some(RefOr::Ref(_)) => {}
            None => drop(operation.responses.responses.insert(status, response)),
        }
    }
}
